import { type KeyObject, sign } from 'node:crypto';
import type { Element } from './assemble.ts';
import { bitString, nothing, oid, parsed, sequence, toDer } from './assemble.ts';
import type { KeyType } from './keys.ts';
import { keyTypeOf } from './keys.ts';

interface Algorithm {
  readonly oid: string;
  /** Null where the algorithm brings its own. */
  readonly hash: 'sha256' | 'sha384' | null;
}

const RSA: Algorithm = { oid: '1.2.840.113549.1.1.11', hash: 'sha256' };

/** What a key of ours signs with: the hash of the strength of the key. */
const ALGORITHMS: Readonly<Record<KeyType, Algorithm>> = {
  'rsa-2048': RSA,
  'rsa-3072': RSA,
  'rsa-4096': RSA,
  'ecdsa-p256': { oid: '1.2.840.10045.4.3.2', hash: 'sha256' },
  'ecdsa-p384': { oid: '1.2.840.10045.4.3.3', hash: 'sha384' },
  ed25519: { oid: '1.3.101.112', hash: null },
};

/** The AlgorithmIdentifier: NULL parameters for RSA (RFC 4055 5), none for the others (RFC 5758 3.2, RFC 8410 3). */
export function algorithmIdentifier(key: KeyObject): Element {
  const algorithm = ALGORITHMS[keyTypeOf(key)];
  return algorithm === RSA ? sequence(oid(RSA.oid), nothing()) : sequence(oid(algorithm.oid));
}

/** `SEQUENCE { toBeSigned, algorithm, signature }`: what certificates, requests and CRLs have in common. */
export function signed(toBeSigned: Element, key: KeyObject): Buffer {
  const der = toDer(toBeSigned);
  const signature = sign(ALGORITHMS[keyTypeOf(key)].hash, der, key);
  return toDer(sequence(parsed(der), algorithmIdentifier(key), bitString(signature)));
}

/** `signed` on the thread pool, for keys that take milliseconds. */
export async function signedAsync(toBeSigned: Element, key: KeyObject): Promise<Buffer> {
  const der = toDer(toBeSigned);
  const { hash } = ALGORITHMS[keyTypeOf(key)];
  const signature = await new Promise<Buffer>((resolve, reject) => {
    sign(hash, der, key, (error, made) => (error === null ? resolve(made) : reject(error)));
  });
  return toDer(sequence(parsed(der), algorithmIdentifier(key), bitString(signature)));
}
