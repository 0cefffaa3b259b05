import { createHash, X509Certificate } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import { signatureAlgorithmName, spkiKind } from './algorithms.ts';
import type { DerNode } from './der.ts';
import {
  DerError,
  expectTag,
  readBitString,
  readBoolean,
  readDer,
  readInteger,
  readOid,
  readSmallInteger,
  readTime,
  sequenceOf,
  TAG,
} from './der.ts';
import type { KeyType } from './key-types.ts';
import type { SpiffeId } from './names.ts';
import { parseSpiffeId } from './names.ts';
import { pemBlocks } from './pem.ts';
import type { GeneralName } from './san.ts';
import { readGeneralNames } from './san.ts';

/** Extended key usages (RFC 5280 4.2.1.12). */
export const EKU = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Extensions that are understood here (RFC 5280 4.2.1). */
export const EXTENSION = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
} as const;

/** In the order of their bits (RFC 5280 4.2.1.3). */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

type KeyUsage = (typeof KEY_USAGES)[number];

interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** The DER inside the OCTET STRING. */
  readonly value: Buffer;
}

/** What a certificate says, whether or not it may say so: `peer.ts` and `bundle.ts` judge. */
export interface Certificate {
  readonly der: Buffer;
  readonly x509: X509Certificate;
  /** 1, 2 or 3 for what RFC 5280 calls v1, v2, v3; other numbers as found. */
  readonly version: number;
  /** Lower-case hex of whole octets without a sign octet, as `openssl x509 -serial` prints it; `-` in front when negative. */
  readonly serial: string;
  /** Readable, control characters escaped: `CN=AI-Teddy-CA, O=…`; empty for an empty name. */
  readonly subject: string;
  readonly issuer: string;
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Undefined for a key that is not on the list of keys.ts. */
  readonly keyType: KeyType | undefined;
  /** For messages: `RSA 1024`, `EC secp256k1`, `key 1.3.101.113`. */
  readonly keyDescription: string;
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo. */
  readonly spkiSha256: string;
  /** Lower-case hex SHA-256 of the DER, no colons. */
  readonly fingerprint256: string;
  /** `ecdsa-with-SHA256`, `rsassaPss-SHA256` …, or the OID of one that is not known here. */
  readonly signatureAlgorithm: string;
  /** Undefined without a basicConstraints extension. */
  readonly isCa: boolean | undefined;
  readonly pathLength: number | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  /** OIDs. */
  readonly eku: readonly string[] | undefined;
  readonly sans: readonly GeneralName[] | undefined;
  /** Key identifiers in lower-case hex. */
  readonly ski: string | undefined;
  readonly aki: string | undefined;
  /** All of them in order, duplicates too; the fields above come from the first of an OID. */
  readonly extensions: readonly Extension[];
  /** Set only when there is exactly one URI SAN and it is a valid SPIFFE id. */
  readonly spiffeId: SpiffeId | undefined;
}

/**
 * Decodes one certificate. Forbidden content is no error here, only bytes that are not a certificate in DER.
 * @throws SL-PEM-004 with the reason in `why`
 */
export function parseCertificate(der: Buffer): Certificate {
  try {
    return decode(der);
  } catch (error) {
    const why = error instanceof DerError ? error.message : 'OpenSSL cannot read it';
    throw new SidelockError('SL-PEM-004', 'a certificate does not parse', { why, cause: error });
  }
}

/**
 * Every certificate of a PEM text, in order.
 * @throws SL-PEM-001 to SL-PEM-004, naming `file` and the line
 */
export function certificatesFromPem(text: string | Buffer, file: string): Certificate[] {
  return pemBlocks(text, file).map(({ label, der, line }) => {
    if (label !== 'CERTIFICATE') {
      throw new SidelockError('SL-PEM-002', `cannot read the certificate ${file}`, {
        why: `line ${line} begins a ${label} block, not a CERTIFICATE`,
        data: { file, line, label },
      });
    }
    try {
      return parseCertificate(der);
    } catch (error) {
      if (!(error instanceof SidelockError)) throw error;
      throw new SidelockError('SL-PEM-004', `the certificate at line ${line} of ${file} does not parse`, {
        why: error.why,
        cause: error,
        data: { file, line },
      });
    }
  });
}

function decode(der: Buffer): Certificate {
  const [tbsNode, outerAlgorithm, signature, ...rest] = sequenceOf(readDer(der), 'Certificate');
  if (rest.length > 0) throw new DerError('Certificate has more than three parts');
  const tbs = [...sequenceOf(tbsNode, 'tbsCertificate')];
  const version = tbs[0]?.tag === 0xa0 ? readVersion(tbs.shift()) : 1;
  const [serial, innerAlgorithm, issuer, validity, subject, spki, ...optional] = tbs;
  const algorithm = expectTag(innerAlgorithm, TAG.sequence, 'signature');
  if (!algorithm.raw.equals(expectTag(outerAlgorithm, TAG.sequence, 'signatureAlgorithm').raw)) {
    throw new DerError('the signature algorithm inside the signed part differs from the one outside');
  }
  readBitString(signature, 'signatureValue');
  const [notBefore, notAfter, ...more] = sequenceOf(validity, 'validity');
  if (more.length > 0) throw new DerError('validity has more than two parts');
  const extensions = readExtensions(optional);
  const spkiDer = expectTag(spki, TAG.sequence, 'subjectPublicKeyInfo').raw;
  const fields = {
    der,
    version,
    serial: serialHex(readInteger(serial, 'serialNumber')),
    subjectDer: expectTag(subject, TAG.sequence, 'subject').raw,
    issuerDer: expectTag(issuer, TAG.sequence, 'issuer').raw,
    notBefore: readTime(notBefore, 'notBefore'),
    notAfter: readTime(notAfter, 'notAfter'),
    ...spkiKind(spkiDer),
    spkiSha256: sha256(spkiDer),
    fingerprint256: sha256(der),
    signatureAlgorithm: signatureAlgorithmName(algorithm),
    extensions,
    ...readKnown(extensions),
  };
  // After our own reading, which says better what is wrong.
  const x509 = new X509Certificate(der);
  return Object.freeze({ ...fields, x509, subject: printable(x509.subject), issuer: printable(x509.issuer) });
}

function readVersion(node: DerNode | undefined): number {
  const [version, ...rest] = sequenceOf(node, 'version', 0xa0);
  if (rest.length > 0) throw new DerError('version has more than one part');
  return readSmallInteger(version, 'version') + 1;
}

/** The optional tail of tbsCertificate: issuerUniqueID [1], subjectUniqueID [2], extensions [3], each at most once. */
function readExtensions(tail: readonly DerNode[]): Extension[] {
  const tags = tail.map((node) => node.tag);
  if (tags.some((tag, i) => ![0x81, 0x82, 0xa3].includes(tag) || tag <= (tags[i - 1] ?? 0))) {
    throw new DerError('tbsCertificate has an unknown part at its end');
  }
  const wrapper = tail.find((node) => node.tag === 0xa3);
  if (wrapper === undefined) return [];
  const [list, ...rest] = wrapper.children;
  if (rest.length > 0) throw new DerError('extensions have more than one part');
  return sequenceOf(list, 'extensions').map((node) => {
    const parts = [...sequenceOf(node, 'an extension')];
    const oid = readOid(parts.shift(), 'extnID');
    const critical = parts[0]?.tag === TAG.boolean && readBoolean(parts.shift(), 'critical');
    const [value, ...more] = parts;
    if (more.length > 0) throw new DerError(`extension ${oid} has more than three parts`);
    return Object.freeze({ oid, critical, value: expectTag(value, TAG.octetString, `extension ${oid}`).content });
  });
}

function readKnown(extensions: readonly Extension[]) {
  const known = <T>(oid: string, read: (node: DerNode) => T): T | undefined => {
    const found = extensions.find((extension) => extension.oid === oid);
    return found === undefined ? undefined : read(readDer(found.value));
  };
  const sans = known(EXTENSION.subjectAltName, readGeneralNames);
  return {
    ...(known(EXTENSION.basicConstraints, readBasicConstraints) ?? { isCa: undefined, pathLength: undefined }),
    keyUsage: known(EXTENSION.keyUsage, readKeyUsage),
    eku: known(EXTENSION.extKeyUsage, readExtKeyUsage),
    sans,
    ski: known(EXTENSION.subjectKeyIdentifier, (node) =>
      expectTag(node, TAG.octetString, 'subjectKeyIdentifier').content.toString('hex'),
    ),
    aki: known(EXTENSION.authorityKeyIdentifier, (node) =>
      sequenceOf(node, 'authorityKeyIdentifier')
        .find((part) => part.tag === 0x80)
        ?.content.toString('hex'),
    ),
    spiffeId: spiffeIdOf(sans ?? []),
  };
}

function readBasicConstraints(node: DerNode) {
  const parts = [...sequenceOf(node, 'basicConstraints')];
  const isCa = parts[0]?.tag === TAG.boolean && readBoolean(parts.shift(), 'cA');
  const pathLength = parts.length > 0 ? readSmallInteger(parts.shift(), 'pathLenConstraint') : undefined;
  if (parts.length > 0) throw new DerError('basicConstraints has more than two parts');
  return { isCa, pathLength };
}

function readKeyUsage(node: DerNode): ReadonlySet<KeyUsage> {
  const { bits } = readBitString(node, 'keyUsage');
  return new Set(KEY_USAGES.filter((_, i) => ((bits[i >> 3] ?? 0) & (0x80 >> (i & 7))) !== 0));
}

function readExtKeyUsage(node: DerNode): readonly string[] {
  return Object.freeze(sequenceOf(node, 'extKeyUsage').map((part) => readOid(part, 'a key purpose')));
}

function spiffeIdOf(sans: readonly GeneralName[]): SpiffeId | undefined {
  const [uri, ...others] = sans.filter(({ type }) => type === 'uri');
  if (uri === undefined || others.length > 0) return undefined;
  try {
    return parseSpiffeId(uri.raw.toString('latin1'));
  } catch {
    return undefined;
  }
}

/** An INTEGER as `serial` shows it. */
export function serialHex(content: Buffer): string {
  const negative = (content[0] ?? 0) >= 0x80;
  const hex = content.toString('hex');
  if (negative)
    return `-${((1n << BigInt(content.length * 8)) - BigInt(`0x${hex}`)).toString(16).padStart(hex.length, '0')}`;
  return hex.length > 2 && hex.startsWith('00') ? hex.slice(2) : hex;
}

/** OpenSSL has escaped control characters; line breaks separate its parts, bidi controls are ours to escape. */
function printable(name: string | undefined): string {
  return (name ?? '')
    .replaceAll('\n', ', ')
    .replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
