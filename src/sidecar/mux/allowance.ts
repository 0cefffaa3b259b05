/** How often something cheap may happen: `burst` at once, then `perSecond`. */
export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** False when it is used up. */
  use(): boolean {
    return --this.#left >= 0;
  }

  /** Time went on. */
  refill(ms: number): void {
    this.#left = Math.min(this.#burst, Math.max(0, this.#left) + (ms / 1000) * this.#perSecond);
  }
}
