import type { Crl } from '../pki/crl.ts';
import { readCrl, verifyCrl } from '../pki/crl.ts';
import type { IdentityMaterial } from '../pki/material.ts';

/** The newest revocation list of this process. */
export interface RevocationHolder {
  current(): Crl | undefined;
  /** Takes a newer list and tells who subscribed. @throws SL-CRL-001, SL-PEM-*, and the one before stays */
  offer(pem: string, where: string, trusted: IdentityMaterial, now: number): boolean;
  subscribe(changed: () => void): void;
}

export function createRevocationHolder(): RevocationHolder {
  const subscribers: Array<() => void> = [];
  let held: Crl | undefined;
  return {
    current: () => held,
    offer(pem, where, { bundle, chain }, now) {
      const crl = readCrl(pem, where);
      if (crl.sha256 === held?.sha256) return false;
      verifyCrl(crl, { file: where, issuers: [...bundle.roots, ...chain], now, held });
      held = crl;
      for (const changed of subscribers) changed();
      return true;
    },
    subscribe: (changed) => void subscribers.push(changed),
  };
}
