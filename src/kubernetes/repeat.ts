import type { Clock } from '../base/clock.ts';
import { isAbort, isSidelockError, type SidelockError } from '../base/errors.ts';

/** Tells who waits that there is something to do; one ring stands for all since the last wait. */
export interface Bell {
  ring(): void;
  /** Resolves at a ring, at once when there was one, and after `ms` without. Rejects when the signal aborts. */
  wait(ms: number, clock: Clock, signal: AbortSignal): Promise<void>;
  /** Forgets a ring. */
  still(): void;
}

export function createBell(): Bell {
  let isRung = false;
  let wake = () => {};
  return {
    ring() {
      isRung = true;
      wake();
    },
    async wait(ms, clock, signal) {
      signal.throwIfAborted();
      const enough = new AbortController();
      const rung = new Promise<void>((resolve) => {
        wake = resolve;
      });
      try {
        if (!isRung) await Promise.race([rung, clock.sleep(ms, AbortSignal.any([signal, enough.signal]))]);
      } finally {
        enough.abort();
        isRung = false;
      }
    },
    still() {
      isRung = false;
    },
  };
}

interface RepeatOptions {
  readonly work: () => Promise<void>;
  /** How long to wait, ms, after it failed so many times in a row. */
  readonly pause: (failures: number) => number;
  /** Ends a wait; one after a failure only for work that can hold back by itself what failed. */
  readonly bell?: Bell;
  /** Whether it does so now: then it has not worked yet, though nothing else failed. */
  readonly holdsBack?: () => boolean;
  /** Told of a failure, but not of the same once more before it worked. */
  readonly onFailure: (error: SidelockError) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Does it now and again, one after the other. Resolves when the signal aborts; rejects with what nobody expected. */
export async function repeat(options: RepeatOptions): Promise<void> {
  const { work, pause, bell = createBell(), holdsBack, onFailure, clock, signal } = options;
  let told: string | undefined;
  let failures = 0;
  try {
    for (;;) {
      try {
        await work();
        if (holdsBack?.() !== true) told = undefined;
        failures = 0;
      } catch (error) {
        // Its stop may have a reason that looks like a failure.
        if (error === signal.reason || !isSidelockError(error)) throw error;
        failures++;
        if (told !== error.message) onFailure(error);
        told = error.message;
      }
      if (failures === 0 || holdsBack !== undefined) {
        await bell.wait(pause(failures), clock, signal);
      } else {
        await clock.sleep(pause(failures), signal);
        bell.still();
      }
    }
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) throw error;
  }
}

/**
 * Each of them, so many at once; what failed is thrown when all have had their turn, the unexpected first. When the signal
 * aborts no other begins, and when those that had are done its reason is thrown, unless something unexpected is.
 */
export async function forEach<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  const left = [...items].values();
  const run = async () => {
    for (const item of left) {
      if (signal.aborted) return;
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
  const unexpected = failures.find((error) => !isSidelockError(error) && !(signal.aborted && isAbort(error)));
  if (unexpected !== undefined) throw unexpected;
  signal.throwIfAborted();
  if (failures.length > 0) throw failures[0];
}
