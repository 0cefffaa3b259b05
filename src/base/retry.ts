import type { Random } from './clock.ts';

interface Backoff {
  /** First delay, ms. */
  readonly min: number;
  /** Longest delay, ms. */
  readonly max: number;
}

/** Delay before attempt `attempt` (0 is the first retry): doubles from `min` to `max`, the upper half of it random. */
export function backoffDelay(attempt: number, { min, max }: Backoff, random: Random): number {
  const ceiling = Math.min(max, min * 2 ** Math.min(attempt, 30));
  return ceiling / 2 + (ceiling / 2) * random();
}
