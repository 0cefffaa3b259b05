import { MINUTE, type Random } from './clock.ts';
import { SidelockError } from './errors.ts';

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

/** What a server asks for is not obeyed for longer: it may be mistaken, or not who it should be. */
const LONGEST_ASKED = 5 * MINUTE;

/**
 * How long whoever refused us asked to be left alone (Retry-After), ms, and up to a half more, so that all who were
 * told the same do not come back at once; 0 when it did not ask.
 */
export function askedToWait(error: unknown, random: Random): number {
  const asked = error instanceof SidelockError ? error.data['retryAfterMs'] : undefined;
  return typeof asked === 'number' && asked > 0 ? Math.min(asked, LONGEST_ASKED) * (1 + random() / 2) : 0;
}
