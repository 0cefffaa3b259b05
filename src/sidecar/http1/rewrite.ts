import type { Direction } from '../metrics.ts';
import { consistsOf, equalsIgnoringCase, TOKEN } from './bytes.ts';
import type { Framing } from './framing.ts';
import { type Field, fieldValue, type RawHead } from './head.ts';
import { hasUnderscore, type RequestHead } from './request.ts';
import type { ResponseHead } from './response.ts';

export interface RequestRewrite {
  readonly direction: Direction;
  /** Field lines about the caller, each with its end, that go to the app in place of what the caller claims. */
  readonly callerFields: string;
  /** Used when the request has no usable one. */
  readonly newRequestId: () => string;
  /** Used when the request has none. */
  readonly newTraceparent: (() => string) | undefined;
}

export interface RewrittenRequest {
  readonly text: string;
  readonly requestId: string;
}

/** The head that goes on: what was meant for us alone is gone, what the next one believes is written by us. */
export function rewriteRequest(head: RequestHead, rewrite: RequestRewrite): RewrittenRequest {
  const { raw, method, target, minor, absolute, framing, connection, webSocketKey } = head;
  const { text } = raw;
  const inbound = rewrite.direction === 'inbound';
  const { named } = connection;
  let requestId: string | undefined;
  let traced = false;
  let length = false;
  const keep = (field: Field): boolean => {
    switch (field.name) {
      case 'host':
        return !absolute;
      case 'content-length':
        length = isCanonical(field, framing);
        return length;
      case 'expect':
        return head.expects;
      case 'x-request-id': {
        if (requestId !== undefined || named.has('x-request-id')) return false;
        const id = fieldValue(text, field);
        if (id.length > 128 || !consistsOf(id, TOKEN)) return false;
        requestId = id;
        return true;
      }
      case 'traceparent':
        if (traced || named.has('traceparent')) return false;
        traced = true;
        return true;
      case 'x-forwarded-client-cert':
        return false;
      case 'x-forwarded-for':
      case 'x-forwarded-proto':
        return !inbound && !isNamed(named, text, field);
      case 'sec-websocket-key':
        return !isNamed(named, text, field);
      case 'other':
        return (
          !hasUnderscore(text, field) &&
          !isNamed(named, text, field) &&
          !isOurs(text, field) &&
          !(inbound && isOfOtherMesh(text, field))
        );
      default:
        return false;
    }
  };
  const changed = minor === 0 || absolute;
  let out = changed ? `${method} ${target} HTTP/1.1\r\n` : text.slice(raw.start, raw.startEnd + 2);
  if (absolute) out += `host: ${head.host}\r\n`;
  out += keptFields(raw, keep);
  if (framing.kind === 'chunked') out += 'transfer-encoding: chunked\r\n';
  else if (framing.kind === 'length' && !length) out += `content-length: ${framing.length}\r\n`;
  if (webSocketKey !== undefined) out += 'connection: upgrade\r\nupgrade: websocket\r\n';
  out += rewrite.callerFields;
  if (requestId === undefined) {
    requestId = rewrite.newRequestId();
    out += `x-request-id: ${requestId}\r\n`;
  }
  if (!traced && rewrite.newTraceparent !== undefined) out += `traceparent: ${rewrite.newTraceparent()}\r\n`;
  return { text: `${out}\r\n`, requestId };
}

export interface ResponseRewrite {
  readonly direction: Direction;
  /** How the body goes to the client, which may understand less than we do. */
  readonly framing: Framing;
  /** The connection to the client ends after this response. */
  readonly close: boolean;
}

export function rewriteResponse(head: ResponseHead, { direction, framing, close }: ResponseRewrite): string {
  const { raw, status, minor, connection } = head;
  const { text } = raw;
  let length = false;
  const keep = (field: Field): boolean => {
    switch (field.name) {
      case 'content-length':
        // Without a body it tells the length of one that is not sent (RFC 9110 8.6).
        length = framing.kind === 'length' ? isCanonical(field, framing) : framing.kind === 'none' && status >= 200;
        return length;
      case 'host':
      case 'expect':
      case 'traceparent':
      case 'x-request-id':
      case 'x-forwarded-for':
      case 'x-forwarded-proto':
      case 'x-forwarded-client-cert':
      case 'sec-websocket-key':
      case 'sec-websocket-accept':
        return !isNamed(connection.named, text, field);
      case 'other':
        // Of a peer's sidecar they say what went wrong there; an app has no business with them.
        return !isNamed(connection.named, text, field) && !(direction === 'inbound' && isOurs(text, field));
      default:
        return false;
    }
  };
  let out =
    minor === 0 ? `HTTP/1.1${text.slice(raw.start + 8, raw.startEnd)}\r\n` : text.slice(raw.start, raw.startEnd + 2);
  out += keptFields(raw, keep);
  if (framing.kind === 'chunked') out += 'transfer-encoding: chunked\r\n';
  else if (framing.kind === 'length' && !length) out += `content-length: ${framing.length}\r\n`;
  if (status === 101) out += 'connection: upgrade\r\nupgrade: websocket\r\n';
  else if (close && status >= 200) out += 'connection: close\r\n';
  return `${out}\r\n`;
}

/** Kept lines as they came; what lies together is copied together. */
function keptFields({ text, fields }: RawHead, keep: (field: Field) => boolean): string {
  let out = '';
  let from = -1;
  let to = -1;
  for (const field of fields) {
    if (keep(field)) {
      if (from < 0) from = field.line;
      to = field.next;
    } else if (from >= 0) {
      out += text.slice(from, to);
      from = -1;
    }
  }
  return from < 0 ? out : out + text.slice(from, to);
}

/** Whether a length is written as we would; other forms are read differently by some. */
function isCanonical({ valueStart, valueEnd, next }: Field, framing: Framing): boolean {
  return framing.kind === 'length' && next - 2 === valueEnd && valueEnd - valueStart === String(framing.length).length;
}

function isNamed(named: ReadonlySet<string>, text: string, { line, nameEnd }: Field): boolean {
  return named.size > 0 && named.has(text.slice(line, nameEnd).toLowerCase());
}

function isOurs(text: string, { line, nameEnd }: Field): boolean {
  return nameEnd - line > 11 && equalsIgnoringCase(text, line, 'x-sidelock-');
}

function isOfOtherMesh(text: string, { line }: Field): boolean {
  return equalsIgnoringCase(text, line, 'x-envoy-') || equalsIgnoringCase(text, line, 'l5d-');
}
