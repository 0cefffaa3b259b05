import { giveBuffer, takeBuffer } from '../buffers.ts';
import { HEADER_SIZE, writeHeader } from './frame.ts';

/** A TLS record. Writes of a multiple of this leave no record of a few bytes at their end. */
const RECORD = 16 * 1024;

/** While nothing is on its way, this much is sent without waiting for the end of the loop turn. */
const EARLY = 4 * RECORD;
/** Data stops here; the rest of the buffer is for control frames, which cannot wait for room. */
const FULL = 13 * RECORD;

/** Gathers the frames of a loop turn, so that they leave in one write. Its memory is bounded by one pooled buffer. */
export class Outbox {
  /** True while a write is under way: then the next one may as well be larger. */
  writing = false;
  #buffer: Buffer | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** How long the payload of a data frame may be now; 0 when it must wait. */
  room(): number {
    return Math.max(0, (this.writing ? FULL : EARLY) - this.#length - HEADER_SIZE);
  }

  /** Adds a data frame with `from[start, end)`, which must not be longer than `room()`. */
  data(flags: number, id: number, from: Buffer, start: number, end: number): void {
    const to = this.#memory();
    writeHeader(to, this.#length, 0, flags, id, end - start);
    from.copy(to, this.#length + HEADER_SIZE, start, end);
    this.#length += HEADER_SIZE + end - start;
  }

  /** The same of a text of latin1. */
  text(flags: number, id: number, text: string): void {
    const to = this.#memory();
    writeHeader(to, this.#length, 0, flags, id, text.length);
    to.write(text, this.#length + HEADER_SIZE, 'latin1');
    this.#length += HEADER_SIZE + text.length;
  }

  /** Adds a frame without payload. False when even the reserve is used up: the peer does not read. */
  control(type: number, flags: number, id: number, value: number): boolean {
    const to = this.#memory();
    if (this.#length + HEADER_SIZE > to.length) return false;
    writeHeader(to, this.#length, type, flags, id, value);
    this.#length += HEADER_SIZE;
    return true;
  }

  /** Hands over what was gathered; `done` gives the memory back. Undefined when there is nothing. */
  take(): { readonly bytes: Buffer; readonly done: () => void } | undefined {
    const memory = this.#buffer;
    if (memory === undefined || this.#length === 0) return undefined;
    const bytes = memory.subarray(0, this.#length);
    this.#buffer = undefined;
    this.#length = 0;
    return { bytes, done: () => giveBuffer(memory) };
  }

  /** Gives the memory back; what was gathered is lost. */
  drop(): void {
    this.take()?.done();
    if (this.#buffer !== undefined) giveBuffer(this.#buffer);
    this.#buffer = undefined;
  }

  #memory(): Buffer {
    this.#buffer ??= takeBuffer();
    return this.#buffer;
  }
}
