import type { DerNode } from './der.ts';
import { DerError, readBitString, readBoolean, readInteger, readOid, TAG } from './der.ts';

const CONSTRUCTED = 0x20;

/**
 * Walks everything, also what nobody will read, and refuses what is only BER or no value of its type. The reader
 * bounds the depth; the number of elements is bounded by the size of the input.
 * @throws DerError
 */
export function checkStrictDer(node: DerNode): void {
  const universal = (node.tag & 0xc0) === 0;
  const nested = node.tag | CONSTRUCTED;
  const mustNest = nested === TAG.sequence || nested === TAG.set;
  if (universal && node.constructed !== mustNest) {
    throw new DerError(`a value with tag 0x${node.tag.toString(16).padStart(2, '0')} is in pieces (BER, not DER)`);
  }
  if (node.constructed) {
    for (const child of node.children) checkStrictDer(child);
    return;
  }
  switch (node.tag) {
    case 0x00:
      throw new DerError('an end-of-contents mark is used (BER, not DER)');
    case TAG.boolean:
      readBoolean(node, 'a BOOLEAN');
      return;
    case TAG.integer:
      readInteger(node, 'an INTEGER');
      return;
    case TAG.oid:
      readOid(node, 'an OID');
      return;
    case TAG.bitString:
      readBitString(node, 'a BIT STRING');
      return;
    case TAG.null:
      if (node.content.length > 0) throw new DerError('a NULL holds something');
  }
}
