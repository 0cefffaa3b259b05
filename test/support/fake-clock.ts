import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../src/base/clock.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

export interface FakeClock extends Clock {
  /** Lets time pass: sleepers wake in order, each with the clock at its own moment. */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock without time passing, as NTP or an administrator does: nobody wakes. */
  jump(ms: number): void;
  /** How many sleep now. */
  readonly sleeping: number;
  /** Milliseconds asked of each sleep so far. */
  readonly sleeps: readonly number[];
}

/** A clock that stands still until told otherwise. For schedules only: what waits for I/O does not wait for it. */
export function fakeClock(start = Date.UTC(2026, 10, 24)): FakeClock {
  let passed = 0;
  let wall = start;
  const sleeps: number[] = [];
  const sleepers = new Set<Sleeper>();

  return {
    now: () => wall,
    sleep(ms, signal) {
      sleeps.push(ms);
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const sleeper: Sleeper = {
          at: passed + ms,
          wake: () => {
            signal.removeEventListener('abort', aborted);
            sleepers.delete(sleeper);
            resolve();
          },
        };
        const aborted = () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        };
        signal.addEventListener('abort', aborted, { once: true });
        sleepers.add(sleeper);
      });
    },
    async advance(ms) {
      const end = passed + ms;
      for (;;) {
        await settle();
        const next = [...sleepers].sort((a, b) => a.at - b.at)[0];
        if (next === undefined || next.at > end) break;
        wall += Math.max(0, next.at - passed);
        passed = Math.max(passed, next.at);
        next.wake();
      }
      wall += end - passed;
      passed = end;
      await settle();
    },
    jump(ms) {
      wall += ms;
    },
    get sleeping() {
      return sleepers.size;
    },
    sleeps,
  };
}

/** Lets everything run that waits for no I/O. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await setImmediate();
}
