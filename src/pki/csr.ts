import { type KeyObject, verify } from 'node:crypto';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { signatureAlgorithmName } from './algorithms.ts';
import { commonName, integer, parsed, sequence, tagged } from './assemble.ts';
import { EXTENSION } from './certificate.ts';
import type { DerNode } from './der.ts';
import { DerError, expectTag, readBitString, readDer, readOid, readSmallInteger, sequenceOf, TAG } from './der.ts';
import type { KeyType } from './keys.ts';
import { checkSpki, spkiOf, spkiSha256 } from './keys.ts';
import { pemBlocks, pemEncode } from './pem.ts';
import { escapeBytes, readGeneralNames } from './san.ts';
import { signed } from './signing.ts';
import { checkStrictDer } from './strict-der.ts';

/** What may be used of a request. The subject is decided by who asks, never by what the request says. */
interface VerifiedRequest {
  /** Exports in one form only, so that equal keys have equal hashes. */
  readonly publicKey: KeyObject;
  readonly keyType: KeyType;
  readonly spkiSha256: string;
  /** Common and alternative names asked for, escaped and cut, at most 64. For the audit log only. */
  readonly requestedNames: readonly string[];
}

const LABELS = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];
const MAX_TEXT = 16 * 1024;
const MAX_DER = 8 * 1024;
const MAX_NAMES = 64;
const MAX_NAME = 255;
const COMMON_NAME = '2.5.4.3';
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';

/** Signatures that prove possession, with the hash of `crypto.verify`. */
const HASHES: Readonly<Record<string, 'sha256' | 'sha384' | 'sha512' | null>> = {
  sha256WithRSAEncryption: 'sha256',
  sha384WithRSAEncryption: 'sha384',
  sha512WithRSAEncryption: 'sha512',
  'ecdsa-with-SHA256': 'sha256',
  'ecdsa-with-SHA384': 'sha384',
  'ecdsa-with-SHA512': 'sha512',
  Ed25519: null,
};

/** A PKCS#10 request in PEM: the key of `key`, a common name, no attributes (RFC 2986). */
export function createCsr(key: KeyObject, subjectCn: string): string {
  const spki = spkiOf(key);
  const info = sequence(integer(0), commonName(subjectCn), parsed(spki), tagged(0));
  return pemEncode('CERTIFICATE REQUEST', signed(info, key));
}

/**
 * Judges a stranger's request in this order: size, strict DER, its key, the proof that the asker holds the key.
 * Nothing of it is copied into a certificate but the key.
 * @param source what messages call it
 * @throws SL-CSR-001 not one strict PKCS#10 structure, SL-KEY-001 its key, SL-CSR-002 the proof
 */
export function verifyCsr(pemOrDer: string | Buffer, source = 'the certificate request'): VerifiedRequest {
  const request = readable(source, () => readRequest(derOf(pemOrDer, source)));
  const { key, keyType } = acceptedKey(request.spki, source);
  const requestedNames = readable(source, () => namesOf(request));
  checkPossession(request, key, source);
  return Object.freeze({ publicKey: key, keyType, spkiSha256: spkiSha256(key), requestedNames });
}

interface Request {
  readonly info: Buffer;
  readonly subject: DerNode;
  readonly spki: Buffer;
  readonly attributes: readonly DerNode[];
  readonly algorithm: DerNode;
  readonly signature: Buffer;
}

function derOf(input: string | Buffer, source: string): Buffer {
  if (input.length > MAX_TEXT) throw new DerError(`it has ${input.length} bytes; ${MAX_TEXT} are the limit`);
  if (typeof input !== 'string' && input[0] === TAG.sequence) return input;
  const [block, ...more] = pemBlocks(input, source);
  if (block === undefined || more.length > 0) throw new DerError(`it has ${more.length + 1} PEM blocks instead of one`);
  if (!LABELS.includes(block.label)) throw new DerError(`it is a ${block.label}, not a CERTIFICATE REQUEST`);
  return block.der;
}

function readRequest(der: Buffer): Request {
  if (der.length > MAX_DER) throw new DerError(`it has ${der.length} bytes of DER; ${MAX_DER} are the limit`);
  const root = readDer(der);
  checkStrictDer(root);
  const [info, algorithm, signature, ...rest] = sequenceOf(root, 'CertificationRequest');
  const [version, subject, spki, attributes, ...more] = sequenceOf(info, 'certificationRequestInfo');
  if (rest.length > 0 || more.length > 0) throw new DerError('it has more parts than PKCS#10 knows');
  const number = readSmallInteger(version, 'version');
  if (number !== 0) throw new DerError(`its version is ${number}; PKCS#10 knows only 0`);
  return {
    info: expectTag(info, TAG.sequence, 'certificationRequestInfo').raw,
    subject: expectTag(subject, TAG.sequence, 'subject'),
    spki: expectTag(spki, TAG.sequence, 'subjectPublicKeyInfo').raw,
    attributes: sequenceOf(attributes, 'attributes', 0xa0),
    algorithm: expectTag(algorithm, TAG.sequence, 'signatureAlgorithm'),
    signature: wholeOctets(signature),
  };
}

function wholeOctets(signature: DerNode | undefined): Buffer {
  const { bits, unused } = readBitString(signature, 'signature');
  if (unused !== 0) throw new DerError('signature has unused bits');
  return bits;
}

function acceptedKey(spki: Buffer, source: string): ReturnType<typeof checkSpki> {
  try {
    return checkSpki(spki);
  } catch (error) {
    if (!isSidelockError(error, 'SL-KEY-001')) throw error;
    throw new SidelockError('SL-KEY-001', `the key of ${source} is not accepted`, { why: error.why, cause: error });
  }
}

/** Over the bytes that came, never over an encoding of our own. */
function checkPossession({ info, algorithm, signature }: Request, key: KeyObject, source: string): void {
  const name = readable(source, () => signatureAlgorithmName(algorithm));
  const unproven = (why: string) => new SidelockError('SL-CSR-002', `${source} is not signed by its key`, { why });
  const hash = HASHES[name];
  if (hash === undefined) throw unproven(`its signature is ${name}; SHA-256 or better is needed`);
  const family = name.includes('RSA') ? 'rsa' : name.startsWith('ecdsa') ? 'ec' : 'ed25519';
  if (key.asymmetricKeyType !== family) throw unproven(`its signature is ${name}, its key ${key.asymmetricKeyType}`);
  if (!verify(hash, info, key, signature)) throw unproven('the signature does not verify');
}

function namesOf({ subject, attributes }: Request): readonly string[] {
  const commonNames = subject.children
    .flatMap((rdn) => sequenceOf(rdn, 'an RDN', TAG.set))
    .map((attribute) => sequenceOf(attribute, 'an attribute'))
    .filter(([type]) => readOid(type, 'an attribute type') === COMMON_NAME)
    .map(([, value]) => escapeBytes(value?.content ?? Buffer.alloc(0)));
  const sans = requestedExtensions(attributes)
    .filter(([oid]) => readOid(oid, 'extnID') === EXTENSION.subjectAltName)
    .flatMap((parts) => readGeneralNames(readDer(expectTag(parts.at(-1), TAG.octetString, 'extnValue').content)))
    .map(({ value }) => value);
  return Object.freeze([...commonNames, ...sans].slice(0, MAX_NAMES).map((name) => name.slice(0, MAX_NAME)));
}

/** Readers differ in which of several requests for extensions counts, so there may be one (M3). */
function requestedExtensions(attributes: readonly DerNode[]): (readonly DerNode[])[] {
  const found = attributes
    .map((attribute) => sequenceOf(attribute, 'an attribute'))
    .filter(([type]) => readOid(type, 'an attribute type') === EXTENSION_REQUEST)
    .flatMap(([, values]) => sequenceOf(values, 'extensionRequest', TAG.set));
  if (found.length > 1) throw new DerError(`it has ${found.length} extension requests`);
  return found.flatMap((extensions) => sequenceOf(extensions, 'extensions')).map((e) => sequenceOf(e, 'an extension'));
}

/** Whatever is wrong with the form of a request is one code, with the fact in `why`. */
function readable<T>(source: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const isPem = isSidelockError(cause) && cause.code.startsWith('SL-PEM');
    if (!isPem && !(cause instanceof DerError)) throw cause;
    const why = isPem ? (cause.why ?? cause.message) : cause.message;
    throw new SidelockError('SL-CSR-001', `${source} does not parse`, { why, cause });
  }
}
