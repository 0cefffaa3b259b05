import type { MuxStream } from './stream.ts';

/** Streams of which the peer has not heard yet, or not that we took them. Those that are gone meanwhile say nothing. */
export class Unannounced {
  /** Those of ours whose SYN waits for data to ride on: of this loop turn, and of the one before. */
  #fresh: MuxStream[] = [];
  #due: MuxStream[] = [];
  /** Those of the peer whose ACK waits for anything to leave. */
  readonly #unanswered: MuxStream[] = [];

  /** Those of ours, while their SYN waits. */
  get opened(): readonly MuxStream[] {
    return [...this.#due, ...this.#fresh].filter(({ id }) => id === 0);
  }

  open(stream: MuxStream): void {
    this.#fresh.push(stream);
  }

  accept(stream: MuxStream): void {
    this.#unanswered.push(stream);
  }

  /** The end of a loop turn. True when one more must come. */
  turn(): boolean {
    for (const stream of this.#due) stream.announce();
    this.#due.length = 0;
    [this.#due, this.#fresh] = [this.#fresh, this.#due];
    return this.#due.some(({ id }) => id === 0);
  }

  answer(): void {
    for (const stream of this.#unanswered) stream.announce();
    this.#unanswered.length = 0;
  }
}
