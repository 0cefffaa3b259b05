import { Crowd } from '../../base/crowd.ts';
import type { MuxStream } from './stream.ts';

/** The open streams of a session that have an id. */
export class StreamsById {
  readonly #crowd = new Crowd<MuxStream>();
  /** Only numbers: see {@link Crowd} for why streams are in no Map. */
  readonly #places = new Map<number, number>();

  get(id: number): MuxStream | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : this.#crowd.at(place);
  }

  add(id: number, stream: MuxStream): void {
    this.#places.set(id, this.#crowd.enter(stream));
  }

  delete(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    this.#crowd.leave(place);
  }

  all(): Iterable<MuxStream> {
    return this.#crowd;
  }
}
