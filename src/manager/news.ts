import { isSidelockError } from '../base/errors.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import type { EarlyRenewals } from './early-renewals.ts';
import type { Inventory } from './inventory.ts';
import type { ProvenLeaf } from './renewal-proof.ts';
import type { Trust } from './trust.ts';

/** What a sidecar says of itself when it asks for news. */
export interface Report {
  /** DER of what the TLS connection showed, leaf first. */
  readonly chain: readonly Buffer[];
  /** Hash of the bundle it serves with. */
  readonly bundle: string;
  /** Open connections by SHA-256 of the root that vouches for the peer. */
  readonly peers: ReadonlyMap<string, number>;
}

interface TrustNews {
  readonly bundle: TrustBundle;
  /** True when its certificate should be replaced although it is not due. */
  readonly renew: boolean;
  /** Over how long renewals of all who are told so should be spread, ms. */
  readonly spreadMs: number;
}

/** One sidecar, as long as it waits. */
export interface Follower {
  /** What it has not: another bundle, or that its certificate is to be replaced. */
  news(): TrustNews | undefined;
  /** Resolves with the next step on trust, with certificates that are to be replaced, or when the signal aborts. */
  next(signal: AbortSignal): Promise<void>;
}

interface FollowOptions {
  readonly trust: Trust;
  readonly inventory: Inventory;
  readonly early: Pick<EarlyRenewals, 'has' | 'changed'>;
  /** @throws SL-API-002, SL-CERT-001 */
  readonly prove: (chain: readonly Buffer[]) => ProvenLeaf;
}

/** A CSR in this time keeps a manager busy and not overrun. */
const RENEWAL_MS = 10;

/** Notes what a sidecar serves with. Undefined when its chain proves nothing: it hears nothing of trust. */
export function createFollow({ trust, inventory, early, prove }: FollowOptions) {
  return async ({ chain, bundle, peers }: Report): Promise<Follower | undefined> => {
    const serial = provenSerial(chain, prove);
    if (serial === undefined) return undefined;
    const entry = inventory.get(serial);
    if (entry !== undefined) await trust.heard(entry, bundle, oldPeers(peers, trust));
    const generation = trust.generation();
    return {
      news() {
        const current = inventory.get(serial);
        const renew = current !== undefined && (trust.isOld(current) || early.has(serial));
        if (!renew && bundle === trust.bundle().sha256) return undefined;
        return { bundle: trust.bundle(), renew, spreadMs: trust.followers() * RENEWAL_MS };
      },
      next: (signal) => Promise.race([trust.whenNot(generation, signal), early.changed(signal)]),
    };
  };
}

function provenSerial(chain: readonly Buffer[], prove: FollowOptions['prove']): string | undefined {
  try {
    return prove(chain).leaf.serial;
  } catch (error) {
    if (isSidelockError(error)) return undefined;
    throw error;
  }
}

function oldPeers(peers: Report['peers'], trust: Trust): number {
  const signing = trust.authority().root.fingerprint256;
  let count = 0;
  for (const [root, number] of peers) if (root !== signing) count += number;
  return count;
}
