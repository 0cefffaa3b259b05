import type { MuxStream } from './stream.ts';

/** Streams of which the peer has not heard yet, or not that we took them. */
export class Unannounced {
  /** Those of ours whose SYN waits for data to ride on: of this loop turn, and of the one before. */
  #fresh = new Set<MuxStream>();
  #due = new Set<MuxStream>();
  /** Those of the peer whose ACK waits for anything to leave. */
  readonly #unanswered = new Set<MuxStream>();

  /** Those of ours. */
  get opened(): readonly MuxStream[] {
    return [...this.#due, ...this.#fresh];
  }

  open(stream: MuxStream): void {
    this.#fresh.add(stream);
  }

  accept(stream: MuxStream): void {
    this.#unanswered.add(stream);
  }

  delete(stream: MuxStream): void {
    for (const set of [this.#fresh, this.#due, this.#unanswered]) set.delete(stream);
  }

  /** The end of a loop turn. True when one more must come. */
  turn(): boolean {
    for (const stream of this.#due) stream.announce();
    this.#due.clear();
    [this.#due, this.#fresh] = [this.#fresh, this.#due];
    return this.#due.size > 0;
  }

  answer(): void {
    for (const stream of this.#unanswered) stream.announce();
    this.#unanswered.clear();
  }
}
