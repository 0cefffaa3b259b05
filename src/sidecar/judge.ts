import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import { createPeerVerifier, type PeerPurpose, type PeerVerdict } from '../pki/peer.ts';
import { peerSource } from '../pki/peer-chain.ts';
import type { Identity } from './identity.ts';

/** Our verdict on the peer of a finished handshake, under the trust bundle of `identity`. */
export type PeerJudge = (socket: TLSSocket, identity: Identity, purpose: PeerPurpose) => PeerVerdict;

/** Remembers accepted peers by fingerprint, bundle and revocation list; dates are looked at every time. */
export function createPeerJudge(trustDomain: string, clock: Clock, crl: () => CrlSet | undefined): PeerJudge {
  const verifier = createPeerVerifier();
  return (socket, identity, purpose) =>
    verifier.verify(peerSource(socket), {
      bundle: identity.material.bundle,
      crl: crl(),
      now: clock.now(),
      purpose,
      trustDomain,
    });
}
