const MAX_HELD = 64 * 1024 * 1024;
const MAX_GROWTH = 32 * 1024 * 1024;

export interface MemoryLimits {
  /** Bytes that all streams together hold for readers that do not read; the stream that brings more is reset. */
  readonly maxHeld?: number | undefined;
  /** By how much all windows together may grow. */
  readonly maxGrowth?: number | undefined;
}

/** For one of the connections of a process that may hold `bytes`: windows that nobody reads must not fill it. */
export function memoryWithin(bytes: number): MemoryLimits {
  return { maxHeld: Math.min(MAX_HELD, bytes / 2), maxGrowth: Math.min(MAX_GROWTH, bytes / 8) };
}

/** What the streams of one connection may cost together. */
export class SessionMemory {
  readonly #maxHeld: number;
  readonly #maxGrowth: number;
  #held = 0;
  #growth = 0;

  constructor({ maxHeld = MAX_HELD, maxGrowth = MAX_GROWTH }: MemoryLimits) {
    this.#maxHeld = maxHeld;
    this.#maxGrowth = maxGrowth;
  }

  /** Bytes that wait for readers. */
  get held(): number {
    return this.#held;
  }

  /** By how much windows have grown. */
  get growth(): number {
    return this.#growth;
  }

  /** Accounts for bytes that wait for their reader, or with less than 0 no longer do. False when there are too many. */
  hold(bytes: number): boolean {
    this.#held += bytes;
    return this.#held <= this.#maxHeld;
  }

  /** Accounts for a window that grows, unless it may not. */
  grow(bytes: number): boolean {
    if (this.#growth + bytes > this.#maxGrowth) return false;
    this.#growth += bytes;
    return true;
  }

  /** The stream of a window that had grown is gone. */
  shrink(bytes: number): void {
    this.#growth -= bytes;
  }
}
