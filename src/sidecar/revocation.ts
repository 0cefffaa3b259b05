import { isSidelockError } from '../base/errors.ts';
import { type Crl, verifyCrl } from '../pki/crl.ts';
import { type CrlSet, crlSet, issuersUnder, readCrlSet } from '../pki/crl-set.ts';
import type { IdentityMaterial } from '../pki/material.ts';

/** What came as the newest revocation lists, to be verified. */
export interface OfferedLists {
  /** One list or more, of different issuers. */
  readonly pem: string;
  /** Certificates of those who made them, where they are no roots. */
  readonly issuersPem?: string | undefined;
  /** Takes lists whose next update has passed: what they revoke stays revoked. */
  readonly allowStale?: boolean;
}

/** The newest revocation lists of this process. */
export interface RevocationHolder {
  current(): CrlSet | undefined;
  /**
   * Takes newer lists and tells who subscribed; a list whose issuer is not trusted here is left out as long as there is
   * another. @throws SL-CRL-001, SL-PEM-*, and the ones before stay
   */
  offer(lists: OfferedLists, where: string, trusted: IdentityMaterial, now: number): boolean;
  /** Takes what a holder of another thread has verified. */
  repeat(lists: CrlSet): void;
  /** Returns the way to stop. */
  subscribe(changed: () => void): () => void;
}

export function createRevocationHolder(): RevocationHolder {
  const subscribers = new Set<() => void>();
  let held: CrlSet | undefined;
  const take = (lists: CrlSet) => {
    held = lists;
    for (const changed of subscribers) changed();
  };
  return {
    current: () => held,
    offer({ pem, issuersPem = '', allowStale = false }, where, { bundle, chain }, now) {
      const offered = readCrlSet(pem, where);
      const issuers = [...bundle.roots, ...chain, ...issuersUnder(bundle.roots, issuersPem, where)];
      const taken = verified(offered.lists, (list) => {
        const before = held?.lists.find(({ aki }) => aki === list.aki);
        verifyCrl(list, { file: where, issuers, now, held: before, allowStale });
      });
      const next = crlSet(taken);
      if (next.sha256 === held?.sha256) return false;
      take(next);
      return true;
    },
    repeat: take,
    subscribe(changed) {
      subscribers.add(changed);
      return () => void subscribers.delete(changed);
    },
  };
}

function verified(lists: readonly Crl[], verify: (list: Crl) => void): Crl[] {
  const taken: Crl[] = [];
  let stranger: unknown;
  for (const list of lists) {
    try {
      verify(list);
      taken.push(list);
    } catch (error) {
      if (!isSidelockError(error, 'SL-CRL-001') || error.data['reason'] !== 'wrong_issuer') throw error;
      stranger = error;
    }
  }
  if (taken.length === 0) throw stranger;
  return taken;
}
