import type { Random } from '../../base/clock.ts';

export interface Candidate {
  /** What it has to do now. */
  readonly active: number;
  /** How much of it is wanted there, beside the others; above 0. */
  readonly capacity: number;
}

/**
 * The less busy of two drawn at random, for its capacity: near to the least busy of all, at the price of two, and unlike
 * it not the same for all who ask at once. Undefined when there is none.
 */
export function choose<C extends Candidate>(all: readonly C[], random: Random, even: boolean): C | undefined {
  const n = all.length;
  if (n <= 1) return all[0];
  const i = even ? Math.floor(random() * n) : draw(all, random);
  const j = Math.floor(random() * (n - 1));
  const first = all[i];
  const second = all[j < i ? j : j + 1];
  if (first === undefined || second === undefined) return first ?? second;
  return second.active / second.capacity < first.active / first.capacity ? second : first;
}

/** Whether every one is drawn as often as the others. */
export function isEven(all: readonly Candidate[]): boolean {
  return all.every(({ capacity }) => capacity === all[0]?.capacity);
}

function draw(all: readonly Candidate[], random: Random): number {
  let left = random() * all.reduce((sum, { capacity }) => sum + capacity, 0);
  const found = all.findIndex(({ capacity }) => {
    left -= capacity;
    return left < 0;
  });
  return found < 0 ? all.length - 1 : found;
}
