import type { SecureContext } from 'node:tls';
import { SidelockError } from '../base/errors.ts';
import type { PeerSource, PeerVerdict } from '../pki/peer.ts';
import type { Identity as Held } from '../sidecar/identity.ts';

/** What is behind an Identity: the key, and the judgement of peers. Reached by files of this folder only. */
export interface Credentials {
  current(): Held;
  judge(peer: PeerSource, side: 'client' | 'server'): PeerVerdict;
  /** That of the current identity, for either side: TLS 1.3, no tickets, `ca` never empty. */
  context(): SecureContext;
  /** Calls `changed` after a change of the identity or of the revocation list. Returns the way to stop. */
  subscribe(changed: () => void): () => void;
  readonly trustDomain: string;
  readonly namespace: string;
}

const kept = new WeakMap<object, Credentials>();

export function keepCredentials(identity: object, credentials: Credentials): void {
  kept.set(identity, credentials);
}

/** @throws SL-CFG-003 for an object that createIdentity did not make */
export function credentialsOf(identity: object): Credentials {
  const found = kept.get(identity);
  if (found !== undefined) return found;
  throw new SidelockError('SL-CFG-003', 'that is no identity of sidelock', {
    fix: 'pass what createIdentity() gave, itself',
  });
}
