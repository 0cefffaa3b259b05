import type { Direction } from '../metrics.ts';
import { allOf, consistsOf, equalsIgnoringCase, HOST, TARGET, TOKEN } from './bytes.ts';
import { type ConnectionOptions, connectionOptions, namesFraming } from './connection-field.ts';
import { type Framing, framingOf, hasBody, NO_BODY } from './framing.ts';
import { type Field, fieldValue, HeadReader, type RawHead } from './head.ts';
import type { Rejection } from './reasons.ts';

export interface RequestHead {
  readonly raw: RawHead;
  readonly method: string;
  /** In origin form or `*`. */
  readonly target: string;
  readonly host: string;
  /** Minor version of HTTP/1.x. */
  readonly minor: 0 | 1;
  /** Whether the target came with an authority, which then is `host` (RFC 9112 3.2.2). */
  readonly absolute: boolean;
  readonly framing: Framing;
  readonly connection: ConnectionOptions;
  /** The client waits for 100 (Continue) before it sends its body. */
  readonly expects: boolean;
  /** Sec-WebSocket-Key, when this asks for a WebSocket. */
  readonly webSocketKey: string | undefined;
}

/** An inbound leaves room for what the sidecar of the caller added. */
export function requestReader(direction: Direction): HeadReader {
  return new HeadReader({ maxBytes: 16 * 1024 + (direction === 'inbound' ? 512 : 0), maxFields: 128 });
}

/** Judges a request head whole (RFC 9112 3 and 6, RFC 9110 7); each rule says what a request is refused for. */
export function readRequest(raw: RawHead): RequestHead | Rejection {
  const line = startLine(raw);
  if (typeof line !== 'object') return line;
  const { text, fields } = raw;
  const { method, minor } = line;

  let hostField: Field | undefined;
  let expect: string | undefined;
  let upgrade: string | undefined;
  let key: string | undefined;
  for (const field of fields) {
    switch (field.name) {
      case 'host':
        if (hostField !== undefined) return 'repeated_host';
        hostField = field;
        break;
      case 'expect':
        expect = expect === undefined ? fieldValue(text, field) : '';
        break;
      case 'upgrade':
        upgrade = upgrade === undefined ? fieldValue(text, field) : '';
        break;
      case 'sec-websocket-key':
        key = key === undefined ? fieldValue(text, field) : '';
        break;
      case 'other':
        if (isReservedTwin(text, field)) return 'reserved_field';
        break;
    }
  }
  if (hostField === undefined) return 'missing_host';
  const hostValue = fieldValue(text, hostField);
  if (!isHost(hostValue)) return 'bad_host';
  const target = readTarget(line.target, method);
  if (typeof target !== 'object') return target;

  const framing = framingOf(raw) ?? NO_BODY;
  if (typeof framing !== 'object') return framing;
  if (framing.kind === 'chunked' && minor === 0) return 'encoding_in_http_1_0';
  const connection = connectionOptions(raw);
  if (namesFraming(connection)) return 'framing_in_connection';
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return 'bad_expect';
  if (method === 'CONNECT') return 'connect';
  return {
    raw,
    method,
    target: target.path,
    host: target.authority ?? hostValue,
    minor,
    absolute: target.authority !== undefined,
    framing,
    connection,
    expects: expect !== undefined && minor === 1 && hasBody(framing),
    webSocketKey:
      method === 'GET' &&
      minor === 1 &&
      !hasBody(framing) &&
      connection.upgrade &&
      upgrade?.toLowerCase() === 'websocket' &&
      key !== undefined &&
      isWebSocketKey(key)
        ? key
        : undefined,
  };
}

/** Judges the head of a CONNECT (RFC 9112 3.2.3): the authority with its port, and no body. */
export function readConnect(raw: RawHead): { readonly authority: string } | Rejection {
  const verdict = readRequest(raw);
  if (verdict !== 'connect') return typeof verdict === 'string' ? verdict : 'bad_start_line';
  const line = startLine(raw);
  if (typeof line !== 'object') return line;
  const authority = line.target;
  if (!isHost(authority) || !/:\d+$/.test(authority)) return 'bad_target';
  const framing = framingOf(raw);
  return framing === undefined ? { authority } : 'connect';
}

function startLine({ text, start, startEnd }: RawHead): { method: string; target: string; minor: 0 | 1 } | Rejection {
  const methodEnd = text.indexOf(' ', start);
  const targetEnd = text.indexOf(' ', methodEnd + 1);
  if (methodEnd <= start || methodEnd > startEnd || targetEnd < 0 || targetEnd > startEnd) return 'bad_start_line';
  if (!allOf(text, start, methodEnd, TOKEN)) return 'bad_start_line';
  if (targetEnd === methodEnd + 1) return 'bad_start_line';
  if (!allOf(text, methodEnd + 1, targetEnd, TARGET)) return 'bad_target';
  if (startEnd - targetEnd !== 9 || !text.startsWith('HTTP/', targetEnd + 1)) return 'bad_start_line';
  if (text.charCodeAt(targetEnd + 7) !== 46) return 'bad_start_line';
  const major = text.charCodeAt(targetEnd + 6) - 48;
  const minor = text.charCodeAt(targetEnd + 8) - 48;
  if (!(major >= 0 && major <= 9 && minor >= 0 && minor <= 9)) return 'bad_start_line';
  // RFC 9112 2.3; a version that never was is no version.
  if (major !== 1) return 'bad_version';
  if (minor !== 0 && minor !== 1) return 'bad_start_line';
  return { method: text.slice(start, methodEnd), target: text.slice(methodEnd + 1, targetEnd), minor };
}

function readTarget(target: string, method: string): { path: string; authority?: string } | Rejection {
  if (target.charCodeAt(0) === 47) return { path: target };
  if (target === '*') return method === 'OPTIONS' ? { path: '*' } : 'bad_target';
  if (method === 'CONNECT') return { path: target };
  if (!equalsIgnoringCase(target, 0, 'http://')) return 'bad_target';
  const rest = target.slice(7);
  const pathAt = rest.search(/[/?]/);
  const authority = pathAt < 0 ? rest : rest.slice(0, pathAt);
  if (!isHost(authority)) return 'bad_target';
  const path = pathAt < 0 ? '' : rest.slice(pathAt);
  if (path === '' && method === 'OPTIONS') return { path: '*', authority };
  return { path: path.startsWith('/') ? path : `/${path}`, authority };
}

/** uri-host [":" port], RFC 3986 3.2.2, without userinfo and never empty. */
export function isHost(host: string): boolean {
  if (!consistsOf(host, HOST)) return false;
  const literal = host.charCodeAt(0) === 91;
  const nameEnd = literal ? host.indexOf(']') + 1 : endOfName(host);
  if (nameEnd <= (literal ? 2 : 0)) return false;
  for (let i = literal ? 1 : 0; i < nameEnd - (literal ? 1 : 0); i++) {
    const code = host.charCodeAt(i);
    if (code === 91 || code === 93) return false;
    if (literal && !isAddressByte(code)) return false;
  }
  if (nameEnd === host.length) return true;
  if (host.charCodeAt(nameEnd) !== 58 || host.length - nameEnd > 6) return false;
  for (let i = nameEnd + 1; i < host.length; i++) if (!isDigit(host.charCodeAt(i))) return false;
  return true;
}

function endOfName(host: string): number {
  const colon = host.indexOf(':');
  return colon < 0 ? host.length : colon;
}

const isDigit = (code: number) => code >= 48 && code <= 57;
/** Of an IPv6 address, with an IPv4 tail. */
const isAddressByte = (code: number) => isDigit(code) || code === 58 || code === 46 || isHexLetter(code);
const isHexLetter = (code: number) => (code >= 65 && code <= 70) || (code >= 97 && code <= 102);

/** Base64 of 16 bytes, RFC 6455 4.1. */
function isWebSocketKey(key: string): boolean {
  return key.length === 24 && /^[A-Za-z0-9+/]{22}==$/.test(key);
}

/** Names that we write ourselves: some servers read `_` as `-`, so a twin would be read as ours. */
const RESERVED: ReadonlySet<string> = new Set([
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-real-ip',
  'x-request-id',
]);

function isReservedTwin(text: string, { line, nameEnd }: Field): boolean {
  const underscore = text.indexOf('_', line);
  if (underscore < 0 || underscore >= nameEnd) return false;
  return isReserved(text.slice(line, nameEnd).toLowerCase());
}

/** Whether a lower-case name with `_` could be read as one that must not come from a client. */
export function isReserved(name: string): boolean {
  // CVE-2026-21710: a name that is no key of an object in JavaScript.
  if (name === '__proto__') return true;
  const dashed = name.replaceAll('_', '-');
  return RESERVED.has(dashed) || dashed.startsWith('x-sidelock-');
}

/** Whether the name of a field has a `_`, which is dropped: to some servers it is the same as `-`. */
export function hasUnderscore(text: string, { line, nameEnd }: Field): boolean {
  for (let i = line; i < nameEnd; i++) if (text.charCodeAt(i) === 95) return true;
  return false;
}
