import { EventEmitter, once } from 'node:events';
import type { Clock } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';

/** Certificates that are to be replaced before they are due: what they say is true no more. */
export interface EarlyRenewals {
  has(serial: string): boolean;
  /** Certificates of pods that are in use, as far as is known, and were asked for by their token. */
  ofPods(): InventoryEntry[];
  /** Sidecars that hold one of these, and of no others, replace it now. */
  set(serials: ReadonlySet<string>): void;
  /** Resolves when there are others, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void>;
}

export function createEarlyRenewals(inventory: Pick<Inventory, 'all'>, clock: Clock): EarlyRenewals {
  const news = new EventEmitter().setMaxListeners(0);
  let due: ReadonlySet<string> = new Set();
  return {
    has: (serial) => due.has(serial),
    ofPods: () =>
      inventory.all().filter(({ by, notAfter, supersededBy }) => {
        return by === 'pod' && supersededBy === undefined && notAfter > clock.now();
      }),
    set(serials) {
      const isNews = [...serials].some((serial) => !due.has(serial));
      due = serials;
      if (isNews) news.emit('changed');
    },
    async changed(signal) {
      try {
        await once(news, 'changed', { signal });
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    },
  };
}
