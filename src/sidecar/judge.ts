import type { Clock } from '../base/clock.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import { createPeerVerifier, type PeerPurpose, type PeerSource, type PeerVerdict } from '../pki/peer.ts';
import { type OnStaleCrl, staleFault } from './crl-age.ts';
import type { Identity } from './identity.ts';

/** Our verdict on a peer of a finished handshake, under the trust bundle of `identity`. */
export type PeerJudge = (peer: PeerSource, identity: Identity, purpose: PeerPurpose) => PeerVerdict;

interface JudgeOptions {
  readonly trustDomain: string;
  readonly onStaleCrl: OnStaleCrl | undefined;
  readonly clock: Clock;
  /** The newest lists there are. */
  readonly crl: () => CrlSet | undefined;
}

/** Remembers accepted peers by fingerprint, bundle and revocation list; dates are looked at every time. */
export function createPeerJudge({ trustDomain, onStaleCrl = 'warn', clock, crl }: JudgeOptions): PeerJudge {
  const verifier = createPeerVerifier();
  return (peer, identity, purpose) => {
    const [lists, now] = [crl(), clock.now()];
    const stale = onStaleCrl === 'fail' ? staleFault(lists, now) : undefined;
    if (stale !== undefined) return { ok: false, ...stale };
    const { bundle } = identity.material;
    return verifier.verify(peer, { bundle, crl: lists, now, purpose, trustDomain });
  };
}
