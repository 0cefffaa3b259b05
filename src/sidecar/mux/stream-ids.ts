/** Ids a peer may still use although a higher one came: it opens streams side by side and sends out of order. */
const MAX_GAPS = 4096;

export type IdVerdict = 'new' | 'bad_parity' | 'id_reused' | 'too_many_gaps';

/** Which ids the peer has used, in bounded memory. */
export class StreamIds {
  readonly #odd: boolean;
  #highest: number;
  readonly #skipped = new Set<number>();

  /** `odd` for the ids of the side that connected. */
  constructor(odd: boolean) {
    this.#odd = odd;
    this.#highest = odd ? -1 : 0;
  }

  /** Judges the id of a SYN, and marks it as used. */
  take(id: number): IdVerdict {
    if ((id % 2 === 1) !== this.#odd) return 'bad_parity';
    if (id <= this.#highest) return this.#skipped.delete(id) ? 'new' : 'id_reused';
    if ((id - this.#highest) / 2 - 1 + this.#skipped.size > MAX_GAPS) return 'too_many_gaps';
    for (let skipped = this.#highest + 2; skipped < id; skipped += 2) this.#skipped.add(skipped);
    this.#highest = id;
    return 'new';
  }

  /** Whether a stream of this id was there once. */
  used(id: number): boolean {
    return (id % 2 === 1) === this.#odd && id <= this.#highest && !this.#skipped.has(id);
  }
}
