import type { DerNode } from './der.ts';
import { DerError, sequenceOf } from './der.ts';

/** One GeneralName (RFC 5280 4.2.1.6). */
export interface GeneralName {
  readonly type: 'dns' | 'ip' | 'uri' | 'email' | 'other';
  /** For people and logs: bytes outside printable ASCII, and the backslash, as `\xNN`. An IP address in its usual form. */
  readonly value: string;
  /** The octets as they are; what decisions are made on. */
  readonly raw: Buffer;
}

const TYPES: Readonly<Record<number, GeneralName['type']>> = { 129: 'email', 130: 'dns', 134: 'uri', 135: 'ip' };

/** Reads a GeneralNames SEQUENCE. It may be empty; forbidden names are read too. @throws DerError */
export function readGeneralNames(node: DerNode): readonly GeneralName[] {
  return Object.freeze(sequenceOf(node, 'subjectAltName').map(readGeneralName));
}

/** Text that cannot break a log line or be taken for another name. */
export function escapeBytes(raw: Buffer): string {
  return raw
    .toString('latin1')
    .replace(/[^\x20-\x5b\x5d-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** @throws DerError when the tag is that of no GeneralName. */
export function readGeneralName({ tag, content, raw, constructed }: DerNode): GeneralName {
  const number = tag & 0x1f;
  if ((tag & 0xc0) !== 0x80 || number > 8) throw new DerError(`a name has the unknown tag 0x${tag.toString(16)}`);
  // otherName, x400Address, directoryName and ediPartyName are constructed, the rest are octets (RFC 5280 A.2).
  if (constructed !== [0, 3, 4, 5].includes(number)) throw new DerError(`a name with tag 0x${tag.toString(16)} is cut`);
  const type = TYPES[tag] ?? 'other';
  if (type === 'other') return Object.freeze({ type, value: raw.toString('hex'), raw });
  return Object.freeze({ type, value: type === 'ip' ? formatIp(content) : escapeBytes(content), raw: content });
}

/** Dotted or RFC 5952 form; hex when the length is that of no address. */
function formatIp(octets: Buffer): string {
  if (octets.length === 4) return octets.join('.');
  if (octets.length !== 16) return octets.toString('hex');
  const groups = Array.from({ length: 8 }, (_, i) => octets.readUInt16BE(i * 2).toString(16)).join(':');
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}
