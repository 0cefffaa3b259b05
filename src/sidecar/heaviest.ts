/** Bytes that wait for a reader; where there are fewer nothing would be gained. */
const HEAVY = 16 << 10;

/** Something of many, with the bytes that wait in it. */
interface Weighed<T> {
  readonly one: T;
  readonly waiting: number;
}

/**
 * Those in which at least {@link HEAVY} bytes wait, the heavier first, by halves: within a factor of two in any order, as
 * sorting thousands would take its time each time memory is short.
 */
export function heaviest<T>(all: Iterable<T>, waitingIn: (one: T) => number): Array<Weighed<T>> {
  const byHalves: Array<Array<Weighed<T>>> = [];
  for (const one of all) {
    const waiting = waitingIn(one);
    if (waiting < HEAVY) continue;
    const half = Math.floor(Math.log2(waiting));
    byHalves[half] ??= [];
    byHalves[half].push({ one, waiting });
  }
  return byHalves.reverse().flat();
}
