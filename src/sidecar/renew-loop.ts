import { type Clock, type Random, SECOND, sleepUntil } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { backoffDelay } from '../base/retry.ts';

interface RenewLoopOptions {
  /** When the next attempt is due, ms since the epoch; asked again after each wait. */
  readonly due: () => number;
  /** When what is to be renewed ends, ms since the epoch; undefined when there is nothing yet. */
  readonly end?: () => number | undefined;
  /** One attempt; true when it ended well, else how long the next is to wait at least, ms. Must not reject but for an abort. */
  readonly attempt: () => Promise<true | number>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface RenewLoop {
  /** There is another identity: back-off ends, and `due` is asked again. */
  changed(): void;
  /** Resolves after an attempt that began after this call. Rejects with an AbortError when the loop has ended. */
  now(): Promise<void>;
  /** Resolves when the loop has ended. */
  readonly ended: Promise<void>;
}

const RETRY = { min: SECOND, max: 30 * SECOND };

/**
 * Runs `attempt` when due, one at a time, until the signal aborts; after a failure again with back-off up to 30 s, or
 * up to a quarter of what is left before `end`, so that a short leaf gets several attempts; what the manager asks for is
 * waited in any case.
 * The due time is compared with the wall clock every 30 s, so a clock that jumps or a machine that slept is noticed.
 */
export function startRenewLoop(options: RenewLoopOptions): RenewLoop {
  const { due, attempt, clock, random, log, signal } = options;
  let nap = new AbortController();
  let failures = 0;
  let atLeast = 0;
  let asked: Array<PromiseWithResolvers<void>> = [];
  /** Those whom the attempt under way answers. */
  let answered: Array<PromiseWithResolvers<void>> = [];

  const rest = async (wait: (signal: AbortSignal) => Promise<void>) => {
    nap = new AbortController();
    try {
      if (asked.length === 0) await wait(AbortSignal.any([signal, nap.signal]));
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
    signal.throwIfAborted();
  };

  const pause = () => {
    const left = (options.end?.() ?? Number.POSITIVE_INFINITY) - clock.now();
    const max = left <= 0 ? RETRY.max : Math.max(RETRY.min, Math.min(RETRY.max, left / 4));
    return Math.max(atLeast, backoffDelay(failures - 1, { ...RETRY, max }, random));
  };

  const run = async () => {
    for (;;) {
      const before = failures;
      if (failures > 0) await rest((stop) => clock.sleep(pause(), stop));
      else await rest((stop) => sleepUntil(clock, due(), stop));
      const needless = asked.length === 0 && (failures === 0 ? clock.now() < due() : failures !== before);
      if (needless) continue;
      answered = asked;
      asked = [];
      const outcome = await attempt();
      failures = outcome === true ? 0 : failures + 1;
      atLeast = outcome === true ? 0 : outcome;
      for (const { resolve } of answered) resolve();
    }
  };

  const ended = run().catch((error: unknown) => {
    if (!isAbort(error)) log.error({ event: 'internal_error', err: error }, 'certificates are no longer renewed');
    for (const { reject } of [...answered, ...asked]) reject(new DOMException('stopped', 'AbortError'));
  });

  return {
    ended,
    changed() {
      failures = 0;
      nap.abort();
    },
    async now() {
      signal.throwIfAborted();
      const one = Promise.withResolvers<void>();
      asked.push(one);
      nap.abort();
      await one.promise;
    },
  };
}
