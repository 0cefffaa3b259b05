/**
 * What comes and goes by the thousand a second. In a Set or Map it would outlive the young generation: V8 lets each
 * outgrown table of those point to its follower, and once one of them is old, all that is in any later one is kept until
 * the next full collection.
 */
export class Crowd<T> implements Iterable<T> {
  readonly #places: (T | undefined)[] = [];
  readonly #free: number[] = [];

  /** Its place, which is its own until it leaves. */
  enter(one: T): number {
    const place = this.#free.pop() ?? this.#places.length;
    this.#places[place] = one;
    return place;
  }

  at(place: number): T | undefined {
    return this.#places[place];
  }

  /** Called once for each that entered. */
  leave(place: number): void {
    this.#places[place] = undefined;
    this.#free.push(place);
  }

  /** In no order. Others may enter and leave meanwhile; who enters may be met or not. */
  *[Symbol.iterator](): IterableIterator<T> {
    // As long as it is then: it may grow meanwhile.
    for (let place = 0; place < this.#places.length; place++) {
      const one = this.#places[place];
      if (one !== undefined) yield one;
    }
  }
}
