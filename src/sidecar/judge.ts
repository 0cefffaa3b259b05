import type { Clock } from '../base/clock.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import { createPeerVerifier, type PeerPurpose, type PeerSource, type PeerVerdict } from '../pki/peer.ts';
import type { Identity } from './identity.ts';

/** Our verdict on a peer of a finished handshake, under the trust bundle of `identity`. */
export type PeerJudge = (peer: PeerSource, identity: Identity, purpose: PeerPurpose) => PeerVerdict;

/** Remembers accepted peers by fingerprint, bundle and revocation list; dates are looked at every time. */
export function createPeerJudge(trustDomain: string, clock: Clock, crl: () => CrlSet | undefined): PeerJudge {
  const verifier = createPeerVerifier();
  return (peer, identity, purpose) =>
    verifier.verify(peer, {
      bundle: identity.material.bundle,
      crl: crl(),
      now: clock.now(),
      purpose,
      trustDomain,
    });
}
