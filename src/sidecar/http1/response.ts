import { createHash } from 'node:crypto';
import { allOf, VALUE } from './bytes.ts';
import { type ConnectionOptions, connectionOptions, namesFraming } from './connection-field.ts';
import { type Framing, framingOf, NO_BODY, UNTIL_CLOSE } from './framing.ts';
import { fieldValue, HeadReader, type RawHead } from './head.ts';
import type { ResponseFault } from './reasons.ts';

export interface ResponseHead {
  readonly raw: RawHead;
  readonly status: number;
  readonly minor: 0 | 1;
  readonly framing: Framing;
  readonly connection: ConnectionOptions;
  /** Whether the peer keeps the connection open after this. */
  readonly persistent: boolean;
  /** Of the Keep-Alive field, seconds. */
  readonly keepAliveSeconds: number | undefined;
  /** Sec-WebSocket-Accept of a 101. */
  readonly accept: string | undefined;
}

const MAX_INTERIM = 16;

/** Reads the heads of what answers one request: interim ones (1xx), then the final one or 101. */
export class ResponseReader {
  readonly #reader = new HeadReader({ maxBytes: 64 * 1024, maxFields: 256 });
  #method = '';
  #accept: string | undefined;
  #interim = 0;

  /** A request was sent; `webSocketKey` when it asked for a WebSocket. */
  expect(method: string, webSocketKey: string | undefined): void {
    this.#method = method;
    this.#accept = webSocketKey === undefined ? undefined : acceptOf(webSocketKey);
    this.#interim = 0;
  }

  /** Whether a head was begun and not ended. */
  get begun(): boolean {
    return this.#reader.begun;
  }

  /** See HeadReader. */
  get taken(): number {
    return this.#reader.taken;
  }

  push(buffer: Buffer, from: number, to: number): ResponseHead | ResponseFault | undefined {
    const raw = this.#reader.push(buffer, from, to);
    const head = typeof raw === 'object' ? readResponse(raw, this.#method) : raw;
    if (typeof head !== 'object') return head;
    if (head.status === 101) {
      if (this.#accept === undefined) return 'unasked_upgrade';
      if (head.accept !== this.#accept) return 'bad_accept';
    } else if (head.status < 200 && ++this.#interim > MAX_INTERIM) return 'too_many_interim';
    return head;
  }
}

/** RFC 6455 4.2.2. */
function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

/** Judges the head of a response to a request of this method (RFC 9112 4 and 6.3). */
function readResponse(raw: RawHead, method: string): ResponseHead | ResponseFault {
  const line = statusLine(raw);
  if (typeof line !== 'object') return line;
  const { status, minor } = line;
  const said = framingOf(raw);
  if (typeof said === 'string') return said;
  if (said?.kind === 'chunked' && minor === 0) return 'encoding_in_http_1_0';
  const connection = connectionOptions(raw);
  if (namesFraming(connection)) return 'framing_in_connection';
  const bodyless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  // RFC 9110 8.6, RFC 9112 6.1: with these it can only be a mistake, or worse.
  if (said !== undefined && (status < 200 || status === 204) && !(said.kind === 'length' && said.length === 0)) {
    return 'body_where_none';
  }
  let upgrade: string | undefined;
  let accept: string | undefined;
  let keepAliveSeconds: number | undefined;
  for (const field of raw.fields) {
    if (field.name === 'upgrade') upgrade = upgrade === undefined ? fieldValue(raw.text, field) : '';
    else if (field.name === 'sec-websocket-accept') accept = accept === undefined ? fieldValue(raw.text, field) : '';
    else if (field.name === 'keep-alive') keepAliveSeconds = timeoutOf(fieldValue(raw.text, field));
  }
  if (status === 101 && !(connection.upgrade && upgrade?.toLowerCase() === 'websocket')) return 'unasked_upgrade';
  const framing = bodyless ? NO_BODY : (said ?? UNTIL_CLOSE);
  return {
    raw,
    status,
    minor,
    framing,
    connection,
    persistent: framing.kind !== 'close' && !connection.close && (minor === 1 || connection.keepAlive),
    keepAliveSeconds,
    accept,
  };
}

function statusLine({ text, start, startEnd }: RawHead): { status: number; minor: 0 | 1 } | ResponseFault {
  const minor = text.charCodeAt(start + 7) - 48;
  if (!text.startsWith('HTTP/1.', start) || (minor !== 0 && minor !== 1)) return 'bad_version';
  if (text.charCodeAt(start + 8) !== 32) return 'bad_start_line';
  let status = 0;
  for (let i = start + 9; i < start + 12; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return 'bad_status';
    status = status * 10 + digit;
  }
  // A missing reason phrase is common, and the blank before it is then missing too.
  if (startEnd > start + 12 && text.charCodeAt(start + 12) !== 32) return 'bad_status';
  if (status < 100 || status > 599) return 'bad_status';
  if (startEnd < start + 12 || !allOf(text, start + 12, startEnd, VALUE)) return 'bad_start_line';
  return { status, minor };
}

function timeoutOf(value: string): number | undefined {
  const found = /(?:^|[,\s])timeout=(\d{1,9})/i.exec(value);
  return found?.[1] === undefined ? undefined : Number(found[1]);
}
