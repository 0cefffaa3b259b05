import type { Inventory } from './inventory.ts';
import type { Trust } from './trust.ts';

/** What one sidecar serves with. */
export interface Served {
  readonly serial: string;
  /** Hash of its trust bundle. */
  readonly bundle: string;
  /** When it said so, ms since the epoch. */
  readonly at: number;
}

/** What the sidecar of each identity said last, by SPIFFE id; whoever never said anything is not there. */
export function lastServed(inventory: Inventory, trust: Pick<Trust, 'heardAt'>): ReadonlyMap<string, Served> {
  const last = new Map<string, Served>();
  for (const { spiffeId, serial, reported } of inventory.all()) {
    if (reported === undefined) continue;
    const at = Math.max(reported.at, trust.heardAt(serial) ?? 0);
    if (at >= (last.get(spiffeId)?.at ?? 0)) last.set(spiffeId, { serial, bundle: reported.bundle, at });
  }
  return last;
}
