import { SidelockError } from '../base/errors.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import type { KeyType } from '../pki/keys.ts';
import { MANAGER_NAMESPACE, type SpiffeId, serviceOf } from '../pki/names.ts';
import { verifyPeer } from '../pki/peer.ts';

interface Proof {
  /** DER as the TLS connection showed it, leaf first. */
  readonly chain: readonly Buffer[];
  /** With the roots that were. */
  readonly bundle: TrustBundle;
  /**
   * Asked for a leaf that another root than `signingRoot` (its SHA-256) vouches for: that root may be in strange hands, so
   * only certificates that this manager has on record and not revoked count.
   */
  readonly signingRoot: string;
  readonly isOnRecord: (leaf: Certificate) => boolean;
  readonly crl?: CrlSet | undefined;
  readonly trustDomain: string;
  /** ms since the epoch. */
  readonly now: number;
  /** How long after its end a leaf may still prove who its holder is. Milliseconds. */
  readonly expiredGraceMs: number;
}

export interface ProvenLeaf {
  readonly leaf: Certificate;
  readonly spiffeId: SpiffeId;
  readonly service: string;
  readonly namespace: string;
  readonly expired: boolean;
}

/**
 * Who asks for a renewal, by the certificate of the connection and nothing else. An expired leaf counts within
 * its grace, when everything but its end is in order.
 * @throws SidelockError SL-API-002 no or no fit certificate, SL-CERT-001 expired for too long.
 */
export function proveLeaf(proof: Proof): ProvenLeaf {
  const { chain, bundle, crl, trustDomain, now, expiredGraceMs } = proof;
  const judge = (at: number) => verifyPeer({ chain, bundle, crl, now: at, purpose: 'client', trustDomain });
  let verdict = judge(now);
  let expired = false;
  if (!verdict.ok && verdict.reason === 'expired' && chain[0] !== undefined) {
    const { notAfter } = parseCertificate(chain[0]);
    if (now - notAfter > expiredGraceMs) throw expiredTooLong(verdict.detail, expiredGraceMs);
    expired = true;
    verdict = judge(notAfter - 1);
  }
  if (!verdict.ok) {
    throw new SidelockError('SL-API-002', 'the certificate of this connection may not be renewed', {
      why: `${verdict.detail} (${verdict.reason})`,
      fix: 'connect with the current certificate of the service, or enroll with a join token',
      data: { reason: verdict.reason },
    });
  }
  const { leaf, spiffeId, root } = verdict;
  if (root.fingerprint256 !== proof.signingRoot && !proof.isOnRecord(leaf)) {
    throw new SidelockError('SL-API-002', `serial ${leaf.serial} is not on record here`, {
      why: `an older root (${root.subject}) vouches for it, and this manager did not issue it or has revoked it`,
      fix: 'enroll with a join token',
    });
  }
  const named = serviceOf(spiffeId);
  if (named === undefined || named.namespace === MANAGER_NAMESPACE) {
    throw new SidelockError('SL-API-002', `${spiffeId.uri} may not be renewed here`, {
      why: 'it is not the identity of a service',
    });
  }
  return { leaf, spiffeId, ...named, expired };
}

/** @throws SidelockError SL-KEY-001 when `next` is of a weaker class than `current` (NIST SP 800-57 part 1, table 2). */
export function refuseWeakerKey(current: KeyType, next: KeyType, service: string): void {
  if (STRENGTH[next] >= STRENGTH[current]) return;
  throw new SidelockError('SL-KEY-001', `${service} may not renew to a weaker key`, {
    why: `its certificate holds ${current} (${STRENGTH[current]} bits of security), the request ${next} (${STRENGTH[next]})`,
    fix: `request with a key of at least the strength of ${current}, or enroll with a join token`,
  });
}

/** 4096 is counted with 3072, because the table names no size between 3072 and 7680. */
const STRENGTH: Readonly<Record<KeyType, number>> = {
  'rsa-2048': 112,
  'rsa-3072': 128,
  'rsa-4096': 128,
  'ecdsa-p256': 128,
  'ecdsa-p384': 192,
  ed25519: 128,
};

function expiredTooLong(detail: string, graceMs: number): SidelockError {
  return new SidelockError('SL-CERT-001', 'the certificate of this connection expired too long ago', {
    why: `${detail}; the grace for renewals is ${graceMs / 3_600_000} h`,
    fix: 'enroll again: sidelock token create SERVICE',
  });
}
