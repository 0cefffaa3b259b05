import { type Clock, SECOND } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import { type Fault, fault } from '../pki/peer-reasons.ts';
import { span, utc } from '../pki/text.ts';
import type { RevocationOptions } from './options.ts';
import type { RevocationHolder } from './revocation.ts';

export type OnStaleCrl = NonNullable<RevocationOptions['onStaleCrl']>;

interface AgeOptions {
  readonly revocation: RevocationHolder;
  readonly onStaleCrl: OnStaleCrl;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const EVERY_MS = 10 * SECOND;

/** Why nobody is let in now, under `fail`. */
export function staleFault(lists: CrlSet | undefined, now: number): Fault | undefined {
  if (lists === undefined) return fault('crl_stale', 'there is no revocation list, and onStaleCrl is fail');
  if (lists.nextUpdate > now) return undefined;
  return fault(
    'crl_stale',
    `the revocation list is out of date since ${utc(lists.nextUpdate)}, and onStaleCrl is fail`,
  );
}

/** Tells once when a list goes out of date, and when there is one again. Resolves when the signal aborts. */
export async function watchAge({ revocation, onStaleCrl, clock, log, signal }: AgeOptions): Promise<void> {
  let told = false;
  try {
    for (;;) {
      const lists = revocation.current();
      const stale = lists !== undefined && lists.nextUpdate <= clock.now();
      if (stale && !told) {
        const { number, nextUpdate } = lists;
        const what = onStaleCrl === 'fail' ? 'no new peer is let in' : 'it goes on being used';
        log.warn(
          { event: 'crl_stale', number, nextUpdate: new Date(nextUpdate).toISOString(), onStaleCrl },
          `revocation list ${number} is out of date for ${span(clock.now() - nextUpdate)}: ${what}`,
        );
      }
      if (!stale && told)
        log.info({ event: 'crl_fresh', number: lists?.number }, 'the revocation list is up to date again');
      told = stale;
      await clock.sleep(EVERY_MS, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
