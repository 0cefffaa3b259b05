interface Lifetime {
  /** ms since the epoch. */
  readonly notBefore: number;
  /** ms since the epoch. */
  readonly notAfter: number;
}

/** Share of the time left that renewals are spread over, so that leaves issued together do not renew together. */
const JITTER = 0.05;

/**
 * When to renew, ms since the epoch: `thresholdMs` before the end, but never before two thirds of the life,
 * because a leaf shorter than the threshold would otherwise be renewed at once and for ever.
 * `random` moves it up to 5 % of the time left earlier, never later.
 */
export function nextRenewal({ notBefore, notAfter }: Lifetime, thresholdMs: number, random: () => number): number {
  const due = Math.max(notAfter - thresholdMs, notBefore + ((notAfter - notBefore) * 2) / 3);
  const latest = Math.min(due, notAfter);
  return Math.floor(latest - (notAfter - latest) * JITTER * random());
}
