import { createHash, createPrivateKey, createPublicKey, generateKeyPair, KeyObject } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import { spkiKind } from './algorithms.ts';
import { DerError, readDer, readInteger, sequenceOf } from './der.ts';
import type { KeyType } from './key-types.ts';
import type { PemBlock } from './pem.ts';
import { pemBlocks } from './pem.ts';
import { hasSmallFactor } from './small-factor.ts';

export { KEY_TYPES, type KeyType } from './key-types.ts';

/** An SPKI of RSA 4096 has 550 octets; what is larger is not looked into. */
const MAX_SPKI = 1024;

/** Encodings of private keys by their PEM label. */
const PRIVATE_LABELS: Readonly<Record<string, 'pkcs8' | 'sec1' | 'pkcs1'>> = {
  'PRIVATE KEY': 'pkcs8',
  'ENCRYPTED PRIVATE KEY': 'pkcs8',
  'EC PRIVATE KEY': 'sec1',
  'RSA PRIVATE KEY': 'pkcs1',
};

/** A new private key, made on the thread pool: RSA takes up to seconds. The public one: `createPublicKey(key)`. */
export function generateKey(type: KeyType): Promise<KeyObject> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, _publicKey: KeyObject, privateKey: KeyObject) => {
      if (error === null) resolve(privateKey);
      else reject(error);
    };
    switch (type) {
      case 'ed25519':
        return generateKeyPair('ed25519', {}, done);
      case 'ecdsa-p256':
        return generateKeyPair('ec', { namedCurve: 'P-256' }, done);
      case 'ecdsa-p384':
        return generateKeyPair('ec', { namedCurve: 'P-384' }, done);
      case 'rsa-2048':
      case 'rsa-3072':
      case 'rsa-4096':
        return generateKeyPair('rsa', { modulusLength: Number(type.slice(4)), publicExponent: 65_537 }, done);
    }
  });
}

/** Of a public or private key. @throws SL-KEY-001 for one that is not on the list */
export function keyTypeOf(key: KeyObject): KeyType {
  return listedType(spkiOf(key));
}

/**
 * Judges a stranger's public key before anything is computed with it (threats M7, M8): type and size, e = 65537, no
 * factor below 2^16, a point on the curve, one encoding. The key given back always exports as the uncompressed form,
 * so that one key has one hash.
 * @throws SL-KEY-001
 */
export function checkSpki(spkiDer: Buffer): { readonly key: KeyObject; readonly keyType: KeyType } {
  if (spkiDer.length > MAX_SPKI) throw refused(`it has ${spkiDer.length} bytes; ${MAX_SPKI} are the limit`);
  const keyType = listedType(spkiDer);
  if (keyType.startsWith('rsa') && hasSmallFactor(modulusOf(spkiDer))) {
    throw refused('its RSA modulus has a factor below 65536');
  }
  const key = readKey(spkiDer);
  if (!spkiOf(key).equals(spkiDer)) throw refused('it is not encoded as DER');
  if (key.asymmetricKeyType !== 'ec') return { key, keyType };
  // OpenSSL exports a point in the form it came in; by way of coordinates it is always uncompressed.
  return { key: createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' }), keyType };
}

/** Lower-case hex SHA-256 of the SubjectPublicKeyInfo; of a private key, of its public half. */
export function spkiSha256(key: KeyObject | Buffer): string {
  return createHash('sha256')
    .update(key instanceof KeyObject ? spkiOf(key) : key)
    .digest('hex');
}

/** PKCS#8; with a passphrase encrypted by AES-256-CBC (PBES2). */
export function privateKeyToPem(key: KeyObject, passphrase?: string): string {
  const options = { type: 'pkcs8', format: 'pem' } as const;
  const pem =
    passphrase === undefined ? key.export(options) : key.export({ ...options, cipher: 'aes-256-cbc', passphrase });
  return pem.toString();
}

/**
 * The one private key of a PEM file: PKCS#8, encrypted or not, or the older RSA and EC forms.
 * @throws SL-PEM-001 to -004 naming `file`, SL-PEM-005 when it is encrypted and the passphrase is missing or wrong
 */
export function privateKeyFromPem(pem: string | Buffer, file: string, passphrase?: string): KeyObject {
  const { label, der, line } = onlyPrivateKey(pemBlocks(pem, file), file);
  const encrypted = label === 'ENCRYPTED PRIVATE KEY';
  if (encrypted && passphrase === undefined) throw locked(file, 'no passphrase is given');
  const type = PRIVATE_LABELS[label] ?? 'pkcs8';
  try {
    readDer(der);
    return createPrivateKey({ key: der, format: 'der', type, ...(encrypted && { passphrase }) });
  } catch (cause) {
    if (encrypted && !(cause instanceof DerError)) throw locked(file, 'the passphrase does not fit', cause);
    const why = cause instanceof DerError ? cause.message : 'OpenSSL cannot read it';
    const message = `the private key at line ${line} of ${file} does not parse`;
    throw new SidelockError('SL-PEM-004', message, { why, cause, data: { file, line } });
  }
}

/** DER of the SubjectPublicKeyInfo; of a private key, of its public half. OpenSSL takes a third of a millisecond, once a key. */
export function spkiOf(key: KeyObject): Buffer {
  const known = spkis.get(key);
  if (known !== undefined) return known;
  const spki = (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
  spkis.set(key, spki);
  return spki;
}

const spkis = new WeakMap<KeyObject, Buffer>();

function listedType(spki: Buffer): KeyType {
  try {
    const { keyType, keyDescription } = spkiKind(spki);
    if (keyType === undefined) throw refused(`it is ${keyDescription}`);
    return keyType;
  } catch (cause) {
    if (cause instanceof DerError) throw refused(cause.message, cause);
    throw cause;
  }
}

function readKey(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (cause) {
    throw refused('OpenSSL cannot read it: it may be no point of its curve', cause);
  }
}

function modulusOf(spki: Buffer): bigint {
  const bits = sequenceOf(readDer(spki), 'subjectPublicKeyInfo')[1]?.content.subarray(1) ?? Buffer.alloc(0);
  const modulus = readInteger(sequenceOf(readDer(bits), 'RSAPublicKey')[0], 'modulus');
  return BigInt(`0x${modulus.toString('hex')}`);
}

function onlyPrivateKey(blocks: readonly PemBlock[], file: string): PemBlock {
  // `openssl ecparam -genkey` writes the curve in front of the key.
  const [block, second] = blocks.filter(({ label }) => label !== 'EC PARAMETERS');
  const other = [block, second].find((found) => found !== undefined && !Object.hasOwn(PRIVATE_LABELS, found.label));
  if (block !== undefined && second === undefined && other === undefined) return block;
  const why =
    block === undefined
      ? 'it holds EC PARAMETERS and no key'
      : other === undefined
        ? `line ${second?.line} begins a second private key`
        : `line ${other.line} begins a ${other.label} block, not a PRIVATE KEY`;
  throw new SidelockError('SL-PEM-002', `cannot read the private key ${file}`, { why, data: { file } });
}

function refused(why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-KEY-001', 'the key is not accepted', { why, cause });
}

function locked(file: string, why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-PEM-005', `the private key ${file} cannot be decrypted`, { why, cause, data: { file } });
}
