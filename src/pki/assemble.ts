import type { asn1 as Forge } from 'node-forge';
import asn1 from 'node-forge/lib/asn1.js';

/** An element that is being put together. */
export type Element = Forge.Asn1;

const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class;
const { Type } = asn1;
const CN = '2.5.4.3';

export function sequence(...parts: Element[]): Element {
  return asn1.create(UNIVERSAL, Type.SEQUENCE, true, parts);
}

/** Parts must come in the order of their encodings (X.690 11.6). */
function set(...parts: Element[]): Element {
  return asn1.create(UNIVERSAL, Type.SET, true, parts);
}

export function oid(dotted: string): Element {
  return asn1.create(UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

/** From big-endian octets of a non-negative number whose top bit is clear. */
export function integer(...octets: readonly number[]): Element {
  return asn1.create(UNIVERSAL, Type.INTEGER, false, binary(octets));
}

/** One octet. */
export function enumerated(value: number): Element {
  return asn1.create(UNIVERSAL, Type.ENUMERATED, false, binary([value]));
}

export function boolean(value: boolean): Element {
  return asn1.create(UNIVERSAL, Type.BOOLEAN, false, binary([value ? 0xff : 0x00]));
}

export function nothing(): Element {
  return asn1.create(UNIVERSAL, Type.NULL, false, '');
}

export function octetString(octets: Uint8Array): Element {
  return asn1.create(UNIVERSAL, Type.OCTETSTRING, false, binary(octets));
}

/** `unused` low bits of the last octet do not count. */
export function bitString(octets: Uint8Array | readonly number[], unused = 0): Element {
  return asn1.create(UNIVERSAL, Type.BITSTRING, false, binary([unused]) + binary(octets));
}

/** UTCTime to 2049, GeneralizedTime from 2050 on, in whole seconds (RFC 5280 4.1.2.5). */
export function time(ms: number): Element {
  const date = new Date(ms);
  return date.getUTCFullYear() < 2050
    ? asn1.create(UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

/** [number] around whole elements. */
export function tagged(number: number, ...parts: Element[]): Element {
  return asn1.create(CONTEXT_SPECIFIC, number, true, parts);
}

/** [number] IMPLICIT over octets. */
export function taggedOctets(number: number, octets: Uint8Array | readonly number[]): Element {
  return asn1.create(CONTEXT_SPECIFIC, number, false, binary(octets));
}

/** A Name of one common name. */
export function commonName(text: string): Element {
  const value = asn1.create(UNIVERSAL, Type.UTF8, false, binary(Buffer.from(text)));
  return sequence(set(sequence(oid(CN), value)));
}

/** An element that exists already. */
export function parsed(der: Buffer): Element {
  return asn1.fromDer(der.toString('latin1'));
}

export function toDer(element: Element): Buffer {
  return Buffer.from(asn1.toDer(element).getBytes(), 'latin1');
}

/** forge keeps octets as characters of a string. */
function binary(octets: Uint8Array | readonly number[]): string {
  return Buffer.from(octets).toString('latin1');
}
