import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds since the epoch, and a wait that an AbortSignal ends early. */
export interface Clock {
  now(): number;
  /** Waits `ms` milliseconds without keeping the process alive; rejects with an AbortError when aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** A number in [0, 1). A parameter wherever jitter is wanted, so that tests decide it. Never a source of secrets. */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
};

/**
 * Resolves when `clock.now()` has reached `when`. Looks at the wall clock at least every `tickMs`,
 * because one long timer misses clock jumps and suspends, and Node fires timers beyond 2^31-1 ms at once.
 */
export async function sleepUntil(clock: Clock, when: number, signal: AbortSignal, tickMs = 30 * SECOND): Promise<void> {
  for (let left = when - clock.now(); left > 0; left = when - clock.now()) {
    await clock.sleep(Math.min(left, tickMs), signal);
  }
  signal.throwIfAborted();
}
