import { isIPv6 } from 'node:net';
import type { Element } from './assemble.ts';
import { bitString, boolean, integer, octetString, oid, sequence, tagged, taggedOctets, toDer } from './assemble.ts';
import { EXTENSION } from './certificate.ts';
import type { San } from './names.ts';

/** Bits of KeyUsage that are ever set here, all in its first octet (RFC 5280 4.2.1.3). */
const USAGE_BITS = { digitalSignature: 0x80, keyEncipherment: 0x20, keyCertSign: 0x04, cRLSign: 0x02 } as const;

const TAG_NUMBERS = { email: 1, dns: 2, uri: 6, ip: 7 } as const;

export function basicConstraints(isCa: boolean, pathLength?: number): Element {
  const flag = isCa ? [boolean(true)] : [];
  const length = pathLength === undefined ? [] : [integer(pathLength)];
  return extension(EXTENSION.basicConstraints, true, sequence(...flag, ...length));
}

export function keyUsage(...usages: readonly (keyof typeof USAGE_BITS)[]): Element {
  const octet = usages.reduce((sum, usage) => sum | USAGE_BITS[usage], 0);
  const unused = Math.log2(octet & -octet);
  return extension(EXTENSION.keyUsage, true, bitString([octet], unused));
}

export function extKeyUsage(oids: readonly string[]): Element {
  return extension(EXTENSION.extKeyUsage, false, sequence(...oids.map(oid)));
}

export function subjectKeyIdentifier(keyId: Buffer): Element {
  return extension(EXTENSION.subjectKeyIdentifier, false, octetString(keyId));
}

export function authorityKeyIdentifier(keyId: Buffer): Element {
  return extension(EXTENSION.authorityKeyIdentifier, false, sequence(taggedOctets(0, keyId)));
}

/** Critical beside an empty subject (RFC 5280 4.2.1.6). */
export function subjectAltName(names: readonly San[], critical: boolean): Element {
  const parts = names.map(({ type, value }) =>
    taggedOctets(TAG_NUMBERS[type], type === 'ip' ? addressOctets(value) : Buffer.from(value, 'latin1')),
  );
  return extension(EXTENSION.subjectAltName, critical, sequence(...parts));
}

/**
 * For an issuer of services (threats C24, C25): URIs of one host only, which is the trust domain, DNS names in these
 * domains only, no IP address at all. Mail addresses are held to a host that cannot exist, because
 * OpenSSL takes an exclusion without a host for no exclusion.
 */
export function serviceNameConstraints(trustDomain: string, dnsDomains: readonly string[]): Element {
  const subtree = (type: keyof typeof TAG_NUMBERS, octets: Uint8Array) =>
    sequence(taggedOctets(TAG_NUMBERS[type], octets));
  const permitted = [
    subtree('uri', Buffer.from(trustDomain)),
    ...dnsDomains.map((domain) => subtree('dns', Buffer.from(domain))),
    subtree('email', Buffer.from('invalid')),
  ];
  const excluded = [subtree('ip', Buffer.alloc(8)), subtree('ip', Buffer.alloc(32))];
  return extension(EXTENSION.nameConstraints, true, sequence(tagged(0, ...permitted), tagged(1, ...excluded)));
}

function extension(id: string, critical: boolean, value: Element): Element {
  const flag = critical ? [boolean(true)] : [];
  return sequence(oid(id), ...flag, octetString(toDer(value)));
}

/** Of an address that `parseSan` accepts: 4 or 16 octets. */
function addressOctets(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined) => (text === undefined || text === '' ? [] : text.split(':'));
  const [left, right] = [groups(head), groups(tail)];
  const zeros = Array<string>(8 - left.length - right.length).fill('0');
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
