import type { Logger } from '../base/log.ts';
import type { IdentityMaterial } from '../pki/material.ts';

/** What this sidecar is, at one moment. Replaced as a whole, never changed. */
export interface Identity {
  /** 1 for the first identity of this process, then one more each time. */
  readonly generation: number;
  readonly material: IdentityMaterial;
  readonly spiffeId: string;
  /** Changes exactly when the set of trusted roots does. */
  readonly trustGeneration: string;
  /** ms since the epoch. */
  readonly notBefore: number;
  /** ms since the epoch. */
  readonly notAfter: number;
  readonly serial: string;
}

/** What the data plane may do with the identity: look at it, and hear of the next one. */
export interface IdentityReader {
  current(): Identity | undefined;
  /** Calls `changed` after each swap, in the order of subscription. Returns the way to stop. */
  subscribe(changed: (identity: Identity) => void): () => void;
}

export interface IdentityHolder extends IdentityReader {
  /**
   * Swaps to `material` and tells the subscribers; false, and nothing happens, when leaf, chain and roots are those
   * of the current identity. A subscriber that throws is logged and keeps none of the others from hearing.
   *
   * `generation` is one more than the one before unless given, as by whoever repeats what another holder took up.
   */
  offer(material: IdentityMaterial, generation?: number): boolean;
}

interface HolderOptions {
  readonly log: Logger;
  /**
   * Builds what depends on an identity (TLS contexts) before the swap. When it throws, so does `offer`, and the
   * current identity stays.
   */
  readonly prepare?: (material: IdentityMaterial) => void;
}

export function createIdentityHolder({ log, prepare }: HolderOptions): IdentityHolder {
  const subscribers = new Set<(identity: Identity) => void>();
  let current: Identity | undefined;

  return {
    current: () => current,
    subscribe(changed) {
      const own = (identity: Identity) => changed(identity);
      subscribers.add(own);
      return () => subscribers.delete(own);
    },
    offer(material, generation = (current?.generation ?? 0) + 1) {
      if (current !== undefined && sameContent(current.material, material)) return false;
      prepare?.(material);
      const identity = identityOf(material, generation);
      current = identity;
      for (const changed of [...subscribers]) {
        // A subscriber may itself offer; the later identity has then been told to everyone already.
        if (current !== identity) break;
        try {
          changed(identity);
        } catch (error) {
          log.error(
            { event: 'identity_subscriber_failed', generation: identity.generation, err: error },
            'a part of the sidecar could not take up the new identity',
          );
        }
      }
      return true;
    },
  };
}

function identityOf(material: IdentityMaterial, generation: number): Identity {
  const { leaf, bundle, spiffeId } = material;
  return Object.freeze({
    generation,
    material,
    spiffeId: spiffeId.uri,
    trustGeneration: bundle.sha256,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    serial: leaf.serial,
  });
}

/** The key need not be compared: it belongs to the leaf. */
function sameContent(a: IdentityMaterial, b: IdentityMaterial): boolean {
  return (
    a.bundle.sha256 === b.bundle.sha256 &&
    a.chain.length === b.chain.length &&
    [a.leaf, ...a.chain].every(
      (certificate, i) => certificate.fingerprint256 === [b.leaf, ...b.chain][i]?.fingerprint256,
    )
  );
}
