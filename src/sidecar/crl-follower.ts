import { type Clock, type Random, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { backoffDelay } from '../base/retry.ts';
import type { Conversation } from './conversation.ts';
import type { IdentityReader } from './identity.ts';
import type { RevocationHolder } from './revocation.ts';

interface FollowerOptions {
  readonly conversation: Pick<Conversation, 'crl'>;
  readonly reader: IdentityReader;
  readonly revocation: RevocationHolder;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const RETRY = { min: SECOND, max: 30 * SECOND };

/** Keeps the revocation list of the manager, which answers when there is a newer one. Resolves when the signal aborts. */
export async function followCrl(options: FollowerOptions): Promise<void> {
  const { conversation, reader, revocation, clock, random, log, signal } = options;
  let failed = 0;
  const ask = async () => {
    const identity = reader.current();
    if (identity === undefined) return false;
    const answer = await conversation.crl(identity.material, revocation.current()?.number ?? 0);
    if (!revocation.offer(answer.crl, 'of the manager', identity.material, clock.now())) return false;
    const { number, entries } = revocation.current() ?? { number: 0, entries: new Map() };
    log.info({ event: 'crl_loaded', number, revoked: entries.size }, `revocation list ${number} is in force`);
    return true;
  };
  try {
    while (!signal.aborted) {
      const fresh = await ask().catch((error: unknown) => {
        signal.throwIfAborted();
        if (++failed === 1) {
          const code = isSidelockError(error) ? error.code : undefined;
          log.warn(
            { event: 'crl_failed', code, err: error },
            'no revocation list from the manager; the last one stays',
          );
        }
        return undefined;
      });
      if (fresh !== undefined) failed = 0;
      const wait = fresh === undefined ? backoffDelay(failed, RETRY, random) : SECOND / 2;
      if (fresh !== true) await clock.sleep(wait, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
