import { isIPv4, isIPv6 } from 'node:net';

/** Version 2 of HAProxy's PROXY protocol, proxy-protocol.txt section 2.2. */
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const HEAD = 16;
/** More than addresses and the type-length-values of any sender that we know of take. */
const MAX_LENGTH = 4_096;
const LOCAL = 0x20;
const PROXY = 0x21;
const FAMILIES = { unspec: 0x00, tcp4: 0x11, tcp6: 0x21 } as const;

const TYPE_SSL = 0x20;
/** CLIENT_SSL, CERT_CONN, CERT_SESS */
const CLIENT_BITS = 0x07;
const SUBTYPE_VERSION = 0x21;
const SUBTYPE_CN = 0x22;
const SUBTYPE_CIPHER = 0x23;

interface ProxyHeader {
  /** `host:port` of the caller, and of ours that it connected to. */
  readonly source: string;
  readonly destination: string;
  /** Of a caller that was verified. */
  readonly tls?: { readonly version: string; readonly cipher: string; readonly spiffeId: string };
}

/** The header that goes before the bytes of a connection. The SPIFFE id is where a common name would be. */
export function encodeProxyHeader({ source, destination, tls }: ProxyHeader): Buffer {
  const addresses = encodeAddresses(split(source), split(destination));
  const values = tls === undefined ? Buffer.alloc(0) : tlv(TYPE_SSL, sslValue(tls));
  const head = Buffer.alloc(HEAD);
  SIGNATURE.copy(head);
  head[12] = PROXY;
  head[13] = addresses.family;
  head.writeUInt16BE(addresses.bytes.length + values.length, 14);
  return Buffer.concat([head, addresses.bytes, values]);
}

function sslValue({ version, cipher, spiffeId }: NonNullable<ProxyHeader['tls']>): Buffer {
  const verified = Buffer.from([CLIENT_BITS, 0, 0, 0, 0]);
  return Buffer.concat([
    verified,
    tlv(SUBTYPE_VERSION, Buffer.from(version)),
    tlv(SUBTYPE_CN, Buffer.from(spiffeId)),
    tlv(SUBTYPE_CIPHER, Buffer.from(cipher)),
  ]);
}

function tlv(type: number, value: Buffer): Buffer {
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

function split(address: string): Endpoint {
  const [, host = '', port = '0'] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  return { host: host.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, ''), port: Number(port) };
}

function encodeAddresses(source: Endpoint, destination: Endpoint): { family: number; bytes: Buffer } {
  const all = [source, destination];
  const ports = Buffer.alloc(4);
  for (const [i, { port }] of all.entries()) ports.writeUInt16BE(port, 2 * i);
  if (all.every(({ host }) => isIPv4(host))) {
    return { family: FAMILIES.tcp4, bytes: Buffer.concat([...all.map(({ host }) => ipv4(host)), ports]) };
  }
  if (all.every(({ host }) => isIPv4(host) || isIPv6(host))) {
    return { family: FAMILIES.tcp6, bytes: Buffer.concat([...all.map(({ host }) => ipv6(host)), ports]) };
  }
  return { family: FAMILIES.unspec, bytes: Buffer.alloc(0) };
}

function ipv4(host: string): Buffer {
  return Buffer.from(host.split('.').map(Number));
}

function ipv6(host: string): Buffer {
  if (isIPv4(host)) return Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), ipv4(host)]);
  const [head = '', tail] = host.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Buffer.concat(all.map((group) => Buffer.from(group.padStart(4, '0'), 'hex')));
}

/** What the bytes so far are: the beginning of a header, no header, or one of `length` bytes. */
type Parsed = 'more' | 'none' | { readonly length: number; readonly source: string | undefined };

/** `source` is undefined where the front speaks for itself (LOCAL), or for another family than TCP. */
export function parseProxyHeader(bytes: Buffer): Parsed {
  const start = bytes.subarray(0, SIGNATURE.length);
  if (!SIGNATURE.subarray(0, start.length).equals(start)) return 'none';
  if (bytes.length < HEAD) return 'more';
  const [command, family, length] = [bytes[12], bytes[13], HEAD + bytes.readUInt16BE(14)];
  if ((command !== LOCAL && command !== PROXY) || length > MAX_LENGTH) return 'none';
  if (bytes.length < length) return 'more';
  const body = bytes.subarray(HEAD, length);
  if (command === LOCAL) return { length, source: undefined };
  if (family === FAMILIES.tcp4)
    return body.length < 12
      ? 'none'
      : { length, source: `${[...body.subarray(0, 4)].join('.')}:${body.readUInt16BE(8)}` };
  if (family !== FAMILIES.tcp6) return { length, source: undefined };
  if (body.length < 36) return 'none';
  const groups = Array.from({ length: 8 }, (_, i) => body.readUInt16BE(2 * i).toString(16));
  return { length, source: `[${groups.join(':')}]:${body.readUInt16BE(32)}` };
}
