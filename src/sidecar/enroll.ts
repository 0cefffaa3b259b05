import type { KeyObject } from 'node:crypto';
import type { IdentityAnswer } from '../api/wire.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { parseBundle, type TrustBundle } from '../pki/bundle.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { generateKey, type KeyType, keyTypeOf, privateKeyFromPem, privateKeyToPem } from '../pki/keys.ts';
import { type IdentityMaterial, readIdentity } from '../pki/material.ts';
import { pemEncode } from '../pki/pem.ts';

/** A fresh key and its request. Kept over the tries of one renewal, so that a lost answer can be had again. */
export interface Candidate {
  /** PKCS#8. Never leaves this process but for `key.pem`. */
  readonly keyPem: string;
  /** PKCS#10, PEM. */
  readonly csr: string;
}

/** An answer that has passed every check and may be written. */
export interface Obtained {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  readonly material: IdentityMaterial;
  /** When the manager wants to be asked next, ms since the epoch. */
  readonly renewAt: number | undefined;
}

/**
 * Makes the key off the event loop, unless `saved` is one kept from before and still of the right type. What builds
 * requests is large and rarely needed, so it is loaded only here.
 */
export async function createCandidate(keyType: KeyType, service: string, saved?: string): Promise<Candidate> {
  const [key, { createCsr }] = await Promise.all([
    (saved === undefined ? undefined : savedKey(saved, keyType)) ?? generateKey(keyType),
    import('../pki/csr.ts'),
  ]);
  return { keyPem: privateKeyToPem(key), csr: createCsr(key, service) };
}

function savedKey(pem: string, keyType: KeyType): KeyObject | undefined {
  try {
    const key = privateKeyFromPem(pem, 'the key kept from before');
    return keyTypeOf(key) === keyType ? key : undefined;
  } catch (error) {
    if (isSidelockError(error)) return undefined;
    throw error;
  }
}

interface Expectation {
  /** The key of the question. */
  readonly keyPem: string;
  readonly expectedId: string;
  /** What was trusted before the question was asked. */
  readonly known: TrustBundle;
  readonly now: number;
}

/**
 * Checks a manager's answer as our own credential: our key, our name, in date, fit for peers; and that it chains to
 * a root known before, since whoever answers may add roots to the bundle but not vouch for the first of them.
 * @throws SL-MGR-002 with what is wrong
 */
export function checkAnswer(answer: IdentityAnswer, { keyPem, expectedId, known, now }: Expectation): Obtained {
  const { certificate: certPem, bundle: caPem } = answer;
  const read = (ca: string) =>
    readIdentity(
      { cert: certPem, key: keyPem, ca },
      { now, expectedId, files: { cert: 'the certificate', key: 'our key', ca: 'the bundle' } },
    );
  const material = usable(answer, now, () => {
    read(known.pem);
    return read(caPem);
  });
  return { certPem, keyPem, caPem, material, renewAt: answer.renewAt };
}

/** The first root of an answer that is pinned. @throws SL-TOK-005 */
export function pinnedRoot(answer: IdentityAnswer, pins: readonly string[], now: number): TrustBundle {
  const roots = usable(answer, now, () => certificatesFromPem(answer.bundle, 'the bundle'));
  const root = roots.find(({ fingerprint256 }) => pins.includes(fingerprint256));
  if (root === undefined) {
    throw new SidelockError('SL-TOK-005', 'the answer of the manager does not hold a root that is pinned', {
      why: `pinned is ${pins.map((pin) => `sha256:${pin}`).join(' or ')}, the answer has ${roots.map((r) => `sha256:${r.fingerprint256}`).join(', ')}`,
    });
  }
  return usable(answer, now, () => parseBundle(pemEncode('CERTIFICATE', root.der), 'the pinned root', now));
}

function usable<T>(answer: IdentityAnswer, now: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    const clocks = `our clock says ${new Date(now).toISOString()}, the manager's ${new Date(answer.time).toISOString()}`;
    throw new SidelockError('SL-MGR-002', 'the manager answered with a certificate that we cannot use', {
      why: `${error.message}${error.why === undefined ? '' : `: ${error.why}`} (${error.code}); ${clocks}`,
      cause: error,
    });
  }
}
