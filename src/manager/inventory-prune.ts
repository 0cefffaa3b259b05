import { type Clock, DAY, HOUR } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';

interface PruneOptions {
  readonly inventory: Pick<Inventory, 'all' | 'isNewest' | 'forget'>;
  /** How long after its end a certificate still proves who asks for the next, ms. */
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The last certificate of somebody who went away is shown for so long, and its end told. */
const NEWEST_MS = 90 * DAY;
/** One that was followed by another, once it proves nothing any more. */
const FOLLOWED_MS = 7 * DAY;
const EVERY_MS = 6 * HOUR;

/**
 * Forgets certificates that ended long ago, so that a storage whose pods renew each day does not grow for ever; whom
 * their keys belong to stays known. Those whose files the store keeps are never forgotten, nor is anything at the first
 * look: a clock that is wrong for less than six hours costs nothing. Until the signal.
 */
export async function pruneInventory(options: PruneOptions): Promise<void> {
  const { inventory, clock, log, signal } = options;
  let before = new Set<string>();
  while (!signal.aborted) {
    try {
      const over = inventory.all().filter((entry) => isOver(entry, options));
      const serials = over.map(({ serial }) => serial);
      const old = serials.filter((serial) => before.has(serial));
      before = new Set(serials);
      if (old.length > 0) {
        await inventory.forget(old);
        const count = old.length;
        log.info({ event: 'inventory_pruned', count }, `${count} certificates that ended long ago are forgotten`);
      }
      await clock.sleep(EVERY_MS, signal);
    } catch (error) {
      if (isAbort(error)) return;
      log.error({ event: 'prune_failed', err: error }, 'old certificates could not be forgotten');
      await clock.sleep(EVERY_MS, signal).catch(() => {});
    }
  }
}

function isOver(entry: InventoryEntry, { inventory, graceMs, clock }: PruneOptions): boolean {
  const ended = clock.now() - entry.notAfter - graceMs;
  if (ended <= FOLLOWED_MS) return false;
  if (!inventory.isNewest(entry)) return true;
  return entry.kept !== true && ended > NEWEST_MS;
}
