/** Places that stay, empty or not. */
const KEPT = 1_024;

/**
 * What comes and goes by the thousand a second. In a Set or Map it would outlive the young generation: V8 lets each
 * outgrown table of those point to its follower, and once one of them is old, all that is in any later one is kept until
 * the next full collection.
 */
export class Crowd<T> implements Iterable<T> {
  readonly #places: (T | undefined)[] = [];
  /** Some of them may be beyond the end meanwhile; all of those are passed over before there are new ones. */
  readonly #free: number[] = [];

  /** Its place, which is its own until it leaves. */
  enter(one: T): number {
    let place = this.#free.pop();
    while (place !== undefined && place >= this.#places.length) place = this.#free.pop();
    place ??= this.#places.length;
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
    if (place >= KEPT && place === this.#places.length - 1) this.#shrink();
  }

  /** After a great many there are few, and whoever looks at all shall not look at empty places for ever. */
  #shrink(): void {
    const places = this.#places;
    while (places.length > KEPT && places.at(-1) === undefined) places.pop();
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
