import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';

export interface Backlog {
  /** One more was served. */
  served(): void;
  /** One more is sent away; for how long, ms. */
  refused(): number;
}

/** What any machine does, until it has shown what it does. */
const LEAST_PER_SECOND = 20;
const LONGEST_MS = 60_000;
const LINE_MS = 10_000;

/**
 * Gives those who are sent away a place in a line: each is told to come back when those before it will have been served,
 * at the speed of the last busy time. Told the same second, they would all come back in it. Says once in ten seconds
 * how many there were.
 */
export function createBacklog(clock: Clock, log: Logger): Backlog {
  let line = 0;
  let at = clock.now();
  let busySince = at;
  let done = 0;
  let [sentAway, toldAt] = [0, 0];

  const perSecond = () => Math.max(LEAST_PER_SECOND, (done * 1000) / Math.max(1000, clock.now() - busySince));
  const settle = () => {
    const now = clock.now();
    line = Math.max(0, line - (Math.max(0, now - at) / 1000) * perSecond());
    at = now;
    if (line > 0) return;
    busySince = now;
    done = 0;
  };

  return {
    served() {
      settle();
      done++;
    },
    refused() {
      settle();
      line++;
      sentAway++;
      if (Math.abs(at - toldAt) >= LINE_MS) {
        log.warn({ event: 'busy', count: sentAway }, `the manager is busy: ${sentAway} callers were told to come back`);
        [sentAway, toldAt] = [0, at];
      }
      return Math.min(LONGEST_MS, (line / perSecond()) * 1000);
    },
  };
}
