/** Identifier octets that certificates and requests are made of (X.690 8.1.2, universal class). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The bytes are not the DER that was expected; `message` says what is wrong and at which tag. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** One element. `tag` is the whole identifier octet (0x30 = SEQUENCE, 0xa0 = constructed [0]). */
export interface DerNode {
  readonly tag: number;
  readonly constructed: boolean;
  readonly content: Buffer;
  /** Identifier, length and content, a view of the input. */
  readonly raw: Buffer;
  /** The elements inside, decoded at first use. @throws DerError */
  readonly children: readonly DerNode[];
}

/** Deeper than any certificate goes (an extension inside a CSR ends near 9). */
const MAX_DEPTH = 16;

/**
 * Reads one element that fills `bytes` exactly. DER only (X.690 10): definite, minimal lengths and one-octet tags.
 * Nothing is copied: the nodes are views of `bytes`.
 * @throws DerError
 */
export function readDer(bytes: Buffer): DerNode {
  const node = readNode(bytes, 0, 0);
  if (node.raw.length !== bytes.length) {
    throw new DerError(`${bytes.length - node.raw.length} bytes follow the end of the structure`);
  }
  return node;
}

/** The children of a SEQUENCE (or of another constructed `tag`). @throws DerError when `node` is something else. */
export function sequenceOf(node: DerNode | undefined, what: string, tag: number = TAG.sequence): readonly DerNode[] {
  return expectTag(node, tag, what).children;
}

/** @throws DerError naming `what` when the node is absent or of another kind. */
export function expectTag(node: DerNode | undefined, tag: number, what: string): DerNode {
  if (node === undefined) throw new DerError(`${what} is missing`);
  if (node.tag !== tag)
    throw new DerError(`${what} has tag 0x${hexByte(node.tag)} where 0x${hexByte(tag)} is expected`);
  return node;
}

/** The content of an INTEGER: two's complement, minimal (X.690 8.3.2). @throws DerError */
export function readInteger(node: DerNode | undefined, what: string): Buffer {
  const { content } = expectTag(node, TAG.integer, what);
  const [first, second] = content;
  if (first === undefined) throw new DerError(`${what} is an empty INTEGER`);
  if (second !== undefined && ((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80))) {
    throw new DerError(`${what} is an INTEGER with padding`);
  }
  return content;
}

/** A small non-negative INTEGER. @throws DerError when it is negative or above 2^31. */
export function readSmallInteger(node: DerNode | undefined, what: string): number {
  const content = readInteger(node, what);
  if (content.length > 4 || content.readInt8(0) < 0) throw new DerError(`${what} is out of range`);
  return content.readIntBE(0, content.length);
}

/** @throws DerError unless the octet is 00 or FF (X.690 11.1). */
export function readBoolean(node: DerNode | undefined, what: string): boolean {
  const { content } = expectTag(node, TAG.boolean, what);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw new DerError(`${what} is no BOOLEAN`);
  return content[0] === 0xff;
}

/** An OBJECT IDENTIFIER in dotted form. @throws DerError on padding, a cut arc, or more than 64 octets. */
export function readOid(node: DerNode | undefined, what: string): string {
  const { content } = expectTag(node, TAG.oid, what);
  if (content.length === 0 || content.length > 64) throw new DerError(`${what} is an OID of ${content.length} octets`);
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const octet of content) {
    if (fresh && octet === 0x80) throw new DerError(`${what} is an OID with padding`);
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    fresh = octet < 0x80;
    if (!fresh) continue;
    if (arcs.length > 0) arcs.push(arc);
    else if (arc < 80n) arcs.push(arc / 40n, arc % 40n);
    else arcs.push(2n, arc - 80n);
    arc = 0n;
  }
  if (!fresh) throw new DerError(`${what} is an OID that ends inside an arc`);
  return arcs.join('.');
}

/** A BIT STRING: its octets and how many low bits of the last one do not count (they must be 0, X.690 11.2.1). */
export function readBitString(node: DerNode | undefined, what: string): { bits: Buffer; unused: number } {
  const { content } = expectTag(node, TAG.bitString, what);
  const unused = content[0];
  const bits = content.subarray(1);
  const last = bits.at(-1) ?? 0;
  if (unused === undefined || unused > 7 || (bits.length === 0 && unused > 0)) {
    throw new DerError(`${what} is no BIT STRING`);
  }
  if ((last & ((1 << unused) - 1)) !== 0) throw new DerError(`${what} has unused bits that are set`);
  return { bits, unused };
}

/** UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 wants them (seconds, `Z`, no fraction), ms since the epoch. */
export function readTime(node: DerNode | undefined, what: string): number {
  const text = node?.content.toString('latin1') ?? '';
  const year = node?.tag === TAG.generalizedTime ? 4 : 2;
  const match = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const [, y = '', ...rest] = match ?? [];
  const isTime = node?.tag === TAG.utcTime || node?.tag === TAG.generalizedTime;
  if (!isTime || match === null || y.length !== year) throw new DerError(`${what} is no time of RFC 5280`);
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = rest.map(Number);
  const fullYear = year === 4 ? Number(y) : Number(y) + (Number(y) < 50 ? 2000 : 1900);
  const date = new Date(0);
  date.setUTCFullYear(fullYear, month - 1, day);
  date.setUTCHours(hour, minute, second);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) {
    throw new DerError(`${what} is no date: ${text}`);
  }
  return date.getTime();
}

/** One element: `tag`, the shortest length, and the parts one after the other. */
export function writeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const length = Buffer.from(evenHex(content.length.toString(16)), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content]);
}

function readNode(bytes: Buffer, offset: number, depth: number): DerNode {
  if (depth > MAX_DEPTH) throw new DerError(`structures are nested deeper than ${MAX_DEPTH}`);
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw new DerError('the data ends inside a tag or length');
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag number above 30 is used');
  let start = offset + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0) throw new DerError('an indefinite length is used (BER, not DER)');
    if (octets > 4 || start + octets > bytes.length) throw new DerError('a length does not fit the data');
    length = bytes.readUIntBE(start, octets);
    if (length < 0x80 || bytes[start] === 0) throw new DerError('a length is not in its shortest form (BER, not DER)');
    start += octets;
  }
  const end = start + length;
  if (end > bytes.length) throw new DerError(`${end - bytes.length} bytes are missing at the end`);
  return new Node(tag, bytes.subarray(offset, end), bytes.subarray(start, end), depth);
}

class Node implements DerNode {
  readonly tag: number;
  readonly raw: Buffer;
  readonly content: Buffer;
  readonly #depth: number;
  #children: readonly DerNode[] | undefined;

  constructor(tag: number, raw: Buffer, content: Buffer, depth: number) {
    this.tag = tag;
    this.raw = raw;
    this.content = content;
    this.#depth = depth;
  }

  get constructed(): boolean {
    return (this.tag & 0x20) !== 0;
  }

  get children(): readonly DerNode[] {
    this.#children ??= this.#read();
    return this.#children;
  }

  #read(): DerNode[] {
    if (!this.constructed) throw new DerError(`a value with tag 0x${hexByte(this.tag)} has no parts`);
    const nodes: DerNode[] = [];
    for (let offset = 0; offset < this.content.length; ) {
      const node = readNode(this.content, offset, this.#depth + 1);
      nodes.push(node);
      offset += node.raw.length;
    }
    return nodes;
  }
}

function hexByte(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}

function evenHex(hex: string): string {
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}
