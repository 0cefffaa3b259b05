const SMALLEST = 1024;
const LARGEST = 64 * 1024;

interface Chunk {
  readonly memory: Buffer;
  head: number;
  tail: number;
}

/**
 * Bytes that wait for their reader. Kept in few large pieces, so that a peer that sends single bytes takes no more
 * memory than twice what it sends, and a small rest.
 */
export class ByteQueue {
  readonly #chunks: Chunk[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(from: Buffer, start: number, end: number): void {
    let at = start;
    const last = this.#chunks.at(-1);
    if (last !== undefined) {
      const n = from.copy(last.memory, last.tail, at, end);
      last.tail += n;
      at += n;
    }
    if (at < end) {
      const memory = Buffer.allocUnsafeSlow(Math.max(end - at, Math.min(LARGEST, Math.max(SMALLEST, this.#length))));
      this.#chunks.push({ memory, head: 0, tail: from.copy(memory, 0, at, end) });
    }
    this.#length += end - start;
  }

  /** Moves bytes to the start of `to`; returns how many. */
  shift(to: Buffer): number {
    let n = 0;
    for (let first = this.#chunks[0]; first !== undefined && n < to.length; first = this.#chunks[0]) {
      const moved = first.memory.copy(to, n, first.head, first.tail);
      first.head += moved;
      n += moved;
      if (first.head === first.tail) this.#chunks.shift();
    }
    this.#length -= n;
    return n;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#length = 0;
  }
}
