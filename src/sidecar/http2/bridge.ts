import { constants } from 'node:http2';
import { type Body, followBody } from '../http1/body.ts';
import type { Client, ClientOptions } from '../http1/client.ts';
import { hasBody } from '../http1/framing.ts';
import { fieldValue } from '../http1/head.ts';
import { type ResponseHead, ResponseReader } from '../http1/response.ts';
import { BUSY, type Link, type LinkUser, TAKEN, type WriteResult } from '../link.ts';
import type { CloseReason } from '../metrics.ts';
import type { NewStream } from './client.ts';
import type { Served } from './exchange.ts';
import { HOP_BY_HOP, type RequestHead } from './head.ts';
import { RESET_NOT_END, sendTrailers } from './trailers.ts';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_NO_ERROR } = constants;

/** Makes the client connection of HTTP/1.1 that one request is served on. */
export type OpenClient = (options: Omit<ClientOptions, 'received' | 'sent'>) => Client;

/**
 * One request of HTTP/2 for an app of HTTP/1.1. It is written as the bytes of HTTP/1.1, which then pass the same strict
 * reader, policy and rewriting as those of any other caller, on a connection of their own: whatever is in a field, no
 * second request can come of it, and a body that breaks off is never ended.
 */
export class Bridge implements Link, Served {
  readonly #request: NewStream;
  readonly #client: Client;
  readonly #reader = new ResponseReader();
  readonly #chunked: boolean;
  #user: LinkUser | undefined;
  #rest: Buffer[] = [];
  /** Of the content that was promised, what did not come yet. */
  #left: number;
  #requestDone: boolean;
  #body: Body | undefined;
  #told = false;
  #responseDone = false;
  #held = false;
  #closed = false;

  constructor(request: NewStream, open: OpenClient) {
    const { owner, stream, head, bodyless } = request;
    this.#request = request;
    this.#requestDone = bodyless;
    this.#chunked = !bodyless && head.length === undefined;
    this.#left = bodyless ? 0 : (head.length ?? Number.POSITIVE_INFINITY);
    this.#reader.expect(head.method, undefined);
    this.#rest.push(Buffer.from(requestText(head, this.#chunked), 'latin1'));
    stream.on('data', (chunk: Buffer) => this.#content(chunk));
    stream.once('end', () => this.#ended());
    stream.on('drain', () => {
      if (!this.#held) return;
      this.#held = false;
      this.#user?.written();
    });
    stream.once('close', () => this.#leave());
    // It opens this link, and nothing is read from it before.
    this.#client = open({
      link: this,
      callerFields: owner.callerFields,
      caller: owner.caller,
      denies: owner.denies,
      closed: () => {},
    });
  }

  tick(): void {
    this.#client.takeActivity();
  }

  blame(reason: CloseReason): void {
    this.#client.blame(reason);
  }

  get waiting(): number {
    return this.#rest.reduce((sum, { length }) => sum + length, this.#client.waiting());
  }

  open(user: LinkUser): void {
    this.#user = user;
    this.#deliver();
  }

  resume(): void {
    this.#deliver();
  }

  /** Bytes of the response. */
  write(chunk: Buffer): WriteResult {
    let at = 0;
    while (at < chunk.length && !this.#responseDone && !this.#closed) {
      if (this.#body === undefined) {
        const head = this.#reader.push(chunk, at, chunk.length);
        if (head === undefined) return TAKEN;
        if (typeof head === 'string') return this.#fail(NGHTTP2_INTERNAL_ERROR);
        at += this.#reader.taken;
        this.#answer(head);
        continue;
      }
      // It works in place, and the memory is not ours.
      const piece = Buffer.from(chunk.subarray(at));
      const n = this.#body.feed(piece, 0, piece.length);
      at += this.#body.used;
      if (n > 0 && !this.#request.stream.write(piece.subarray(0, n))) this.#held = true;
      if (n > 0) this.#moved(n);
      if (this.#body.fault !== undefined) return this.#fail(NGHTTP2_INTERNAL_ERROR);
      if (this.#body.done) this.#endResponse();
    }
    return this.#held ? BUSY : TAKEN;
  }

  writeText(text: string): WriteResult {
    return this.write(Buffer.from(text, 'latin1'));
  }

  /** HTTP/1.1 has said its last; whether that was all, the framing of the response told. */
  end(): void {
    if (!this.#responseDone) this.#fail(NGHTTP2_INTERNAL_ERROR);
  }

  reset(): void {
    this.#fail(NGHTTP2_INTERNAL_ERROR);
  }

  renewSpace(): void {}

  #answer(head: ResponseHead): void {
    const { stream } = this.#request;
    if (stream.destroyed) return;
    const fields = [':status', String(head.status), ...fieldsOf(head)];
    try {
      if (head.status < 200) {
        stream.additionalHeaders({ ':status': head.status, ...interimFields(fields) });
        return;
      }
      const whole = !hasBody(head.framing);
      stream.respond(fields, whole ? { endStream: true } : RESET_NOT_END);
      if (!whole) stream.once('wantTrailers', () => sendTrailers(stream, []));
      this.#told = true;
      if (whole) this.#endResponse();
      else this.#body = followBody(head.framing, 'content');
    } catch {
      // Node is stricter with a field than we are.
      this.#fail(NGHTTP2_INTERNAL_ERROR);
    }
  }

  #endResponse(): void {
    this.#responseDone = true;
    this.#request.stream.end();
    this.#settle();
  }

  #content(chunk: Buffer): void {
    this.#moved(chunk.length);
    if (chunk.length > this.#left) {
      this.#fail(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    this.#left -= chunk.length;
    if (this.#chunked) this.#rest.push(Buffer.from(`${chunk.length.toString(16)}\r\n`, 'latin1'), chunk, CRLF);
    else this.#rest.push(chunk);
    this.#deliver();
  }

  /** An end that the peer did not send is a reset, and what is missing of the content never comes (threats.md Z1, Z2, Z17). */
  #ended(): void {
    const { owner, stream } = this.#request;
    if (this.#requestDone || this.#closed) return;
    if (stream.id === undefined || !owner.guard.endedByPeer(stream.id)) {
      this.#leave();
      return;
    }
    if (!this.#chunked && this.#left > 0) {
      this.#fail(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    this.#requestDone = true;
    if (this.#chunked) {
      this.#rest.push(LAST_CHUNK);
      this.#deliver();
    }
    this.#settle();
  }

  /** Hands over what waits; a reader that wants no more holds back the stream, and so its peer. */
  #deliver(): void {
    const user = this.#user;
    const { stream } = this.#request;
    while (user !== undefined && !this.#closed) {
      const next = this.#rest.shift();
      if (next === undefined) break;
      const n = next.copy(user.space());
      if (n < next.length) this.#rest.unshift(next.subarray(n));
      if (!user.filled(n)) break;
    }
    if (this.#rest.length > 0) stream.pause();
    else stream.resume();
  }

  /** With both messages whole, the connection to the app has been given back. */
  #settle(): void {
    if (this.#responseDone && this.#requestDone && this.#rest.length === 0) setImmediate(() => this.#leave());
  }

  #fail(code: number): WriteResult {
    const { stream } = this.#request;
    if (this.#closed) return TAKEN;
    this.#leave();
    stream.close(this.#told && code === NGHTTP2_INTERNAL_ERROR ? NGHTTP2_CANCEL : code);
    return TAKEN;
  }

  /** The client is gone, or has it all. */
  #leave(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rest = [];
    const { stream } = this.#request;
    if (!stream.destroyed && !stream.readableEnded) {
      stream.resume();
      if (this.#responseDone) stream.close(NGHTTP2_NO_ERROR);
    }
    this.#user?.closed(this.#responseDone ? undefined : new Error('the stream ended'));
  }

  #moved(bytes: number): void {
    this.#request.owner.guard.sent(bytes);
    this.#request.owner.moved();
  }
}

const CRLF = Buffer.from('\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** As HTTP/1.1 writes it. Lengths and codings are ours; cookies become one line (RFC 9113 8.2.3). */
function requestText({ method, path, authority, fields, length }: RequestHead, chunked: boolean): string {
  let out = `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n`;
  const cookies: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (name === 'cookie') cookies.push(value);
    else if (name !== 'content-length') out += `${name}: ${value}\r\n`;
  }
  if (cookies.length > 0) out += `cookie: ${cookies.join('; ')}\r\n`;
  if (chunked) out += 'transfer-encoding: chunked\r\n';
  else if (length !== undefined) out += `content-length: ${length}\r\n`;
  return `${out}\r\n`;
}

function fieldsOf({ raw }: ResponseHead): string[] {
  const out: string[] = [];
  for (const field of raw.fields) {
    const name = raw.text.slice(field.line, field.nameEnd).toLowerCase();
    if (!HOP_BY_HOP.has(name)) out.push(name, fieldValue(raw.text, field));
  }
  return out;
}

function interimFields(fields: readonly string[]): Record<string, string> {
  const out: Record<string, string> = Object.create(null);
  for (let i = 2; i + 1 < fields.length; i += 2) out[fields[i] ?? ''] = fields[i + 1] ?? '';
  return out;
}
