import { consistsOf, TARGET, TOKEN, VALUE } from '../http1/bytes.ts';
import type { Rejection } from '../http1/reasons.ts';
import { isHost, isReserved } from '../http1/request.ts';
import type { Direction } from '../metrics.ts';

/** Name, value, name, value, …; as Node gives and takes them. */
export type RawFields = readonly string[];

/** A request of HTTP/2 that keeps the rules. nghttp2 has refused what breaks those of RFC 9113 8 before. */
export interface RequestHead {
  readonly method: string;
  /** In origin form or `*`. */
  readonly path: string;
  /** Of :authority, or else of host (RFC 9113 8.3.1). */
  readonly authority: string;
  /** Without pseudo fields, host, and what the rules drop. */
  readonly fields: RawFields;
  readonly length: number | undefined;
  /** Refusals are told in the way of gRPC. */
  readonly grpc: boolean;
  /** The client waits for 100 (Continue) before it sends its body. */
  readonly expects: boolean;
}

/** Judges a head, and leaves out what is never passed on. Stricter than nghttp2 where two servers could differ. */
export function readRequest(raw: RawFields): RequestHead | Rejection {
  let method = '';
  let path = '';
  let authority: string | undefined;
  let host: string | undefined;
  let length: number | undefined;
  let grpc = false;
  let expects = false;
  const fields: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    switch (name) {
      case ':method':
        method = value;
        continue;
      case ':path':
        path = value;
        continue;
      case ':authority':
        authority = value;
        continue;
      case ':scheme':
        continue;
      case 'host':
        if (host !== undefined) return 'repeated_host';
        host = value;
        continue;
      case 'content-length':
        if (length !== undefined) return 'repeated_content_length';
        length = parseLength(value);
        if (length === undefined) return 'bad_content_length';
        break;
      case 'content-type':
        grpc ||= /^application\/grpc(?:$|[+;])/i.test(value);
        break;
      case 'expect':
        if (expects || value.toLowerCase() !== '100-continue') return 'bad_expect';
        expects = true;
        break;
    }
    if (name.startsWith(':') || !consistsOf(name, TOKEN)) return 'bad_field_name';
    if (value !== '' && !consistsOf(value, VALUE)) return 'bad_field_value';
    if (name.includes('_')) {
      if (isReserved(name)) return 'reserved_field';
      continue;
    }
    if (!HOP_BY_HOP.has(name) && (name !== 'te' || value === 'trailers')) fields.push(name, value);
  }
  if (method === 'CONNECT') return 'connect';
  if (!consistsOf(method, TOKEN)) return 'bad_start_line';
  if (!consistsOf(path, TARGET) || !(path.startsWith('/') || (path === '*' && method === 'OPTIONS')))
    return 'bad_target';
  if (authority !== undefined && host !== undefined && authority !== host) return 'bad_host';
  const where = authority ?? host;
  if (where === undefined || where === '') return 'missing_host';
  if (!isHost(where)) return 'bad_host';
  return { method, path, authority: where, fields, length, grpc, expects };
}

/** Whether a head has more octets than that, as RFC 9113 6.5.2 counts them. */
export function isLarger(raw: RawFields, bytes: number): boolean {
  let size = 0;
  for (const text of raw) size += text.length + 16;
  return size > bytes;
}

export interface Forwarding {
  readonly direction: Direction;
  /** Field lines about the caller, as HTTP/1 writes them. */
  readonly callerFields: string;
  readonly newRequestId: () => string;
  readonly newTraceparent: (() => string) | undefined;
}

/** The head that goes on to the next one who speaks HTTP/2; what it believes of the caller is written by us. */
export function forwardedRequest(head: RequestHead, forwarding: Forwarding) {
  const { direction, callerFields, newRequestId, newTraceparent } = forwarding;
  const inbound = direction === 'inbound';
  const { method, path, authority, fields } = head;
  // To the app it goes without TLS, to a peer never.
  const out = [':method', method, ':scheme', inbound ? 'http' : 'https', ':authority', authority, ':path', path];
  let requestId: string | undefined;
  let traced = false;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (name === 'x-request-id') {
      if (requestId !== undefined || value.length > 128 || !consistsOf(value, TOKEN)) continue;
      requestId = value;
    } else if (name === 'traceparent') {
      if (traced) continue;
      traced = true;
    } else if (isOurs(name) || (inbound && isOfCaller(name))) continue;
    out.push(name, value);
  }
  for (const line of callerFields.split('\r\n')) {
    const colon = line.indexOf(': ');
    if (colon > 0) out.push(line.slice(0, colon), line.slice(colon + 2));
  }
  if (requestId === undefined) {
    requestId = newRequestId();
    out.push('x-request-id', requestId);
  }
  if (!traced && newTraceparent !== undefined) out.push('traceparent', newTraceparent());
  return { fields: out, requestId };
}

/** Trailers of either side: what they claim of a caller does not pass, as they come after the head was judged. */
export function forwardedTrailers(raw: RawFields): string[] {
  return kept(raw, (name) => !name.includes('_') && !isOurs(name) && !isOfCaller(name));
}

/** The head of a response without what was meant for us; :status is first. */
export function forwardedResponse(raw: RawFields, direction: Direction): string[] {
  // Of a peer's sidecar they say what went wrong there; an app has no business with them.
  return kept(raw, (name) => !(direction === 'inbound' && name.startsWith('x-sidelock-')));
}

export function fieldOf(raw: RawFields, wanted: string): string | undefined {
  for (let i = 0; i < raw.length; i += 2) if (raw[i] === wanted) return raw[i + 1];
  return undefined;
}

function kept(raw: RawFields, keep: (name: string) => boolean): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    if (!HOP_BY_HOP.has(name) && keep(name)) out.push(name, raw[i + 1] ?? '');
  }
  return out;
}

/** Meaningless in HTTP/2 (RFC 9113 8.2.2); nghttp2 refuses most of them. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'proxy-authorization',
  'proxy-authenticate',
  'trailer',
]);

/** Ours to say, whatever way a request goes. */
const isOurs = (name: string) => name === 'x-forwarded-client-cert' || name.startsWith('x-sidelock-');

/** What an app would take for our word. */
const isOfCaller = (name: string) =>
  isOurs(name) ||
  name === 'x-forwarded-for' ||
  name === 'x-forwarded-proto' ||
  name.startsWith('x-envoy-') ||
  name.startsWith('l5d-');

function parseLength(value: string): number | undefined {
  const length = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(length) ? length : undefined;
}
