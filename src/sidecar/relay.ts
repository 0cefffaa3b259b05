import { MINUTE, SECOND } from '../base/clock.ts';
import type { Cell } from '../base/metrics.ts';
import { BULK, giveBuffer, highWater, loseBuffer, sharedBuffer, takeConnectionBuffer } from './buffers.ts';
import { HELD, type Link, type LinkUser, TAKEN } from './link.ts';
import type { CloseReason } from './metrics.ts';

interface RelayOptions {
  /** Bytes read from the first link, and from the second. */
  readonly received: Cell;
  readonly sent: Cell;
  /** Who calls: its last word is answered by the other. */
  readonly caller: 'first' | 'second';
  /** Called once when both links are gone, with the first error of either. */
  readonly closed: (error: Error | undefined) => void;
}

/** Two links that carry each other's bytes. Half-closes are kept, resets passed on, and a slow side holds back the other. */
export interface Relay {
  /** Bytes moved since the last call, for idle limits; also returns spare memory of an idle relay. */
  takeActivity(): boolean;
  /** Bytes held here as the side they are for does not take them. */
  waiting(): number;
  /** Breaks off parts of it that hold bytes, most of all first, until it is `wanted` bytes; how many, 0 when all of it has to go. */
  shed?(wanted: number): number;
  /** Lets neither side send more, as if both had ended. */
  end(): void;
  /**
   * Makes room for a newer connection, where nothing is lost by it; called about once a second until it is over.
   * @param quietMs since a byte moved
   */
  retire(quietMs: number): void;
  /** @param reason for the log of requests under way, where there is one */
  reset(reason?: CloseReason): void;
}

/** A connection on which the last byte was one to the caller, so long ago, is taken to be between two questions. */
const ANSWERED_MS = 5 * SECOND;
/** And when it came from the caller: the answer may take its time, or there is none. */
const UNANSWERED_MS = 5 * MINUTE;

/** Starts relaying between two open links. */
export function relay(first: Link, second: Link, options: RelayOptions): Relay {
  let open = 2;
  let error: Error | undefined;
  const gone = (pump: Pump, other: Link, e: Error | undefined) => {
    error ??= e;
    open--;
    if (open === 0) {
      forward.release();
      backward.release();
      options.closed(error);
    } else if (e !== undefined || !pump.hasEnded) {
      // Bytes may be missing: the other side must not take this for a clean end.
      other.reset();
    }
  };
  let last: Pump | undefined;
  const moved = (pump: Pump) => {
    last = pump;
  };
  const forward: Pump = new Pump(first, second, options.received, moved, (e) => gone(forward, second, e));
  const backward: Pump = new Pump(second, first, options.sent, moved, (e) => gone(backward, first, e));
  forward.back = backward;
  backward.back = forward;
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    first.end();
    second.end();
  };
  first.open(forward);
  second.open(backward);
  return {
    takeActivity: () => {
      const a = forward.takeActivity();
      return backward.takeActivity() || a;
    },
    waiting: () => forward.waiting + backward.waiting,
    end,
    retire(quietMs) {
      const answered = last === (options.caller === 'first' ? backward : forward);
      if (quietMs >= (answered ? ANSWERED_MS : UNANSWERED_MS) && forward.empty && backward.empty) end();
    },
    reset: () => {
      first.reset();
      second.reset();
    },
  };
}

/**
 * One direction. While light it reads into the shared buffer and uses the bytes up at once; when the destination is
 * busy or the source sends bulk, it reads into a buffer of its own, whose filled part [head, tail) waits to be written.
 */
class Pump implements LinkUser {
  readonly #source: Link;
  readonly #destination: Link;
  readonly #bytes: Cell;
  readonly #moved: (pump: Pump) => void;
  readonly #gone: (error: Error | undefined) => void;
  /** The other direction: completions of our destination's writes arrive there, as it is the user of that link. */
  back: Pump | undefined;
  #own: Buffer | undefined;
  #head = 0;
  #tail = 0;
  #busy = false;
  /** End of the part of `#own` that the destination holds; 0 when none. */
  #held = 0;
  #paused = false;
  #ended = false;
  #closed = false;
  #active = false;
  #flushQueued = false;

  constructor(
    source: Link,
    destination: Link,
    bytes: Cell,
    moved: (pump: Pump) => void,
    gone: (error: Error | undefined) => void,
  ) {
    this.#source = source;
    this.#destination = destination;
    this.#bytes = bytes;
    this.#moved = moved;
    this.#gone = gone;
  }

  /** Nothing waits here to be written. */
  get empty(): boolean {
    return !this.#busy && this.#head === this.#tail;
  }

  get waiting(): number {
    return this.#tail + (this.#source.held ?? 0);
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  space(): Buffer {
    return this.#own === undefined ? sharedBuffer : this.#own.subarray(this.#tail);
  }

  filled(n: number): boolean {
    this.#bytes.value += n;
    this.#active = true;
    this.#moved(this);
    if (this.#own === undefined) this.#filledShared(n);
    else {
      this.#tail += n;
      if (!this.#busy) {
        if (n >= BULK && !this.#full) this.#queueFlush();
        else this.#flush();
        if (n < BULK && this.#tail === 0) this.#releaseOwn();
      }
    }
    this.#paused = this.#full;
    return !this.#paused;
  }

  ended(): void {
    this.#ended = true;
    if (this.#busy) return;
    this.#flush();
    this.#endIfDone();
  }

  written(): void {
    this.back?.destinationWritten();
  }

  closed(error: Error | undefined): void {
    this.#closed = true;
    this.#gone(error);
  }

  destinationWritten(): void {
    this.#busy = false;
    if (this.#held > 0) {
      this.#head = this.#held;
      this.#held = 0;
      if (this.#head === this.#tail) this.#head = this.#tail = 0;
    }
    this.#advance();
  }

  takeActivity(): boolean {
    const active = this.#active;
    this.#active = false;
    if (!active && this.#own !== undefined && this.#tail === 0 && !this.#busy && !this.#closed) {
      this.#releaseOwn();
      this.#source.renewSpace();
    }
    return active;
  }

  /** Both links are gone: nothing reads into our memory any more. */
  release(): void {
    if (this.#held === 0) this.#releaseOwn();
    else if (this.#own !== undefined) {
      loseBuffer(this.#own);
      this.#own = undefined;
    }
  }

  get #full(): boolean {
    return this.#own !== undefined && this.#tail >= highWater(this.#own);
  }

  #filledShared(n: number): void {
    if (!this.#busy && n < BULK) {
      this.#busy = this.#destination.write(sharedBuffer.subarray(0, n)) !== TAKEN;
      return;
    }
    const own = takeConnectionBuffer();
    sharedBuffer.copy(own, 0, 0, n);
    this.#own = own;
    this.#tail = n;
    if (!this.#busy) this.#queueFlush();
  }

  /** Records of a bulky TLS source come one by one within a loop turn: gather them, so that they leave in one write. */
  #queueFlush(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    setImmediate(() => {
      this.#flushQueued = false;
      if (!this.#busy) this.#advance();
    });
  }

  /** Outside of a read: writes what waits, and lets the source go on where its memory now is. */
  #advance(): void {
    this.#flush();
    if (this.#own !== undefined && !this.#closed) this.#source.renewSpace();
    if (this.#paused && !this.#full) {
      this.#paused = false;
      this.#source.resume();
    }
    this.#endIfDone();
  }

  #flush(): void {
    const own = this.#own;
    if (own === undefined || this.#busy || this.#head === this.#tail) return;
    const result = this.#destination.write(own.subarray(this.#head, this.#tail));
    this.#busy = result !== TAKEN;
    if (result === HELD) this.#held = this.#tail;
    else this.#head = this.#tail = 0;
  }

  #endIfDone(): void {
    if (this.#ended && !this.#busy && this.#head === this.#tail) this.#destination.end();
  }

  #releaseOwn(): void {
    if (this.#own === undefined) return;
    giveBuffer(this.#own);
    this.#own = undefined;
    this.#head = this.#tail = this.#held = 0;
  }
}
