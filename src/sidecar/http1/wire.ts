import type { Cell } from '../../base/metrics.ts';
import { sharedBuffer } from '../buffers.ts';
import { BUSY, type Link, type LinkUser, TAKEN } from '../link.ts';

/** Up to here a text goes to the link as one, in memory that nobody holds. */
const SMALL = 16 * 1024;

/** Who looks at what a wire receives. */
export interface WireUser {
  /** Bytes [from, to) arrived. What is not used before this returns has to be copied. */
  bytes(buffer: Buffer, from: number, to: number): void;
  /** The peer sends no more. */
  ended(): void;
  /** Called once, last. */
  closed(error: Error | undefined): void;
}

/** Who reads a body off a wire, into memory of its own. */
export interface BodyReader {
  space(): Buffer;
  /** False when it wants no more for now; {@link Wire.go} goes on. */
  filled(buffer: Buffer, n: number): boolean;
  /** Returns true when it took the end for its own. */
  ended(): boolean;
}

/** Who writes a body to a wire. */
export interface BodyWriter {
  /** The last write has left, and nothing else waits. */
  destinationWritten(): void;
}

/**
 * One link as HTTP sees it: heads read into shared memory, bodies into that of their exchange; texts queued while a
 * write is under way. Nothing here belongs to an exchange once its reader and writer are taken off.
 */
export class Wire implements LinkUser {
  readonly link: Link;
  readonly #user: WireUser;
  readonly #read: Cell;
  readonly #written: Cell;
  reader: BodyReader | undefined;
  writer: BodyWriter | undefined;
  #raw: LinkUser | undefined;
  #last: Buffer = sharedBuffer;
  #busy = false;
  #queue = '';
  #ending = false;
  #stopped = false;
  #paused = false;
  /** Inside of `filled`: whoever changes where bytes go is asked for space when it returns. */
  #filling = false;
  /** Written by the tunnel while the head before it is still leaving. */
  #late: Buffer | undefined;
  closedAlready = false;
  endedAlready = false;
  active = false;

  /** Counts bytes where it is told to. */
  constructor(link: Link, user: WireUser, read: Cell = { value: 0 }, written: Cell = { value: 0 }) {
    this.link = link;
    this.#user = user;
    this.#read = read;
    this.#written = written;
  }

  open(): void {
    this.link.open(this);
  }

  /** A write is under way or waits: a body has to wait for `destinationWritten`. */
  get busy(): boolean {
    return this.#busy || this.#queue !== '';
  }

  /** Flowing, empty and unowned. */
  get idle(): boolean {
    return (
      this.reader === undefined &&
      this.writer === undefined &&
      this.#queue === '' &&
      !this.#stopped &&
      !this.#paused &&
      !this.#ending &&
      !this.closedAlready &&
      !this.endedAlready
    );
  }

  /** Writes a text of latin1, and bytes [from, to) behind it in the same write where they are few. */
  send(text: string, buffer?: Buffer, from = 0, to = 0): void {
    const all = buffer === undefined || from === to ? text : text + buffer.toString('latin1', from, to);
    if (this.busy) this.#queue += all;
    else if (all.length >= SMALL) this.write(Buffer.from(all, 'latin1'));
    else {
      this.#written.value += all.length;
      this.active = true;
      this.#busy = this.link.writeText(all) !== TAKEN;
    }
  }

  /** Writes bytes while not busy. Returns HELD when their memory is lent until `destinationWritten`. */
  write(chunk: Buffer) {
    this.#written.value += chunk.length;
    this.active = true;
    const result = this.link.write(chunk);
    this.#busy = result !== TAKEN;
    return result;
  }

  /** Half-close, behind everything that was written. */
  end(): void {
    this.#ending = true;
    if (!this.busy) this.link.end();
  }

  reset(): void {
    this.link.reset();
  }

  /** Stops reading until {@link go}. What arrives meanwhile still comes. */
  stop(): void {
    this.#stopped = true;
  }

  go(): void {
    this.#stopped = false;
    if (!this.#paused || this.#filling || this.closedAlready) return;
    this.#paused = false;
    this.link.resume();
  }

  /** The memory bytes are read into has changed. */
  moved(): void {
    if (!this.#filling && !this.closedAlready) this.link.renewSpace();
  }

  /** The link below for someone who speaks no HTTP; `rest` arrived already. The wire is nobody else's from then on. */
  handOver(rest: Buffer | undefined): Link {
    const { link } = this;
    let left = rest;
    const deliver = (user: LinkUser): boolean => {
      while (left !== undefined) {
        const n = left.copy(user.space());
        left = n === left.length ? undefined : left.subarray(n);
        if (!user.filled(n)) return false;
      }
      if (this.endedAlready) user.ended();
      return true;
    };
    const go = (user: LinkUser) => {
      if (!deliver(user)) return;
      link.renewSpace();
      this.#stopped = false;
      this.#paused = false;
      link.resume();
    };
    return {
      open: (user) => {
        this.#raw = user;
        go(user);
      },
      resume: () => {
        if (left === undefined) link.resume();
        else if (this.#raw !== undefined) go(this.#raw);
      },
      write: (chunk) => {
        if (!this.busy) return link.write(chunk);
        this.#late = Buffer.from(chunk);
        return BUSY;
      },
      writeText: (text) => {
        if (!this.busy) return link.writeText(text);
        this.#late = Buffer.from(text, 'latin1');
        return BUSY;
      },
      end: () => this.end(),
      reset: () => link.reset(),
      renewSpace: () => link.renewSpace(),
      get held() {
        return link.held ?? 0;
      },
    };
  }

  space(): Buffer {
    if (this.#raw !== undefined) return this.#raw.space();
    this.#last = this.reader === undefined ? sharedBuffer : this.reader.space();
    return this.#last;
  }

  filled(n: number): boolean {
    if (this.#raw !== undefined) return this.#raw.filled(n);
    this.#read.value += n;
    this.active = true;
    this.#filling = true;
    const { reader } = this;
    let more = true;
    if (reader === undefined) this.#user.bytes(this.#last, 0, n);
    else more = reader.filled(this.#last, n);
    this.#filling = false;
    // A hand-over may have happened in between: it reads on by itself.
    this.#paused = this.#stopped || (!more && this.reader === reader);
    return !this.#paused;
  }

  /** What came behind a body, in the same read. */
  filledRest(buffer: Buffer, from: number, to: number): void {
    this.#user.bytes(buffer, from, to);
  }

  ended(): void {
    if (this.#raw !== undefined) {
      this.#raw.ended();
      return;
    }
    this.endedAlready = true;
    if (this.reader?.ended() !== true) this.#user.ended();
  }

  written(): void {
    if (this.#raw !== undefined && !this.#busy) {
      this.#raw.written();
      return;
    }
    this.#busy = false;
    if (this.#queue !== '') {
      const text = this.#queue;
      this.#queue = '';
      this.send(text);
      if (this.#busy) return;
    }
    if (this.#late !== undefined) {
      const late = this.#late;
      this.#late = undefined;
      if (this.link.write(late) === TAKEN) this.#raw?.written();
      return;
    }
    if (this.#ending) {
      this.link.end();
      return;
    }
    this.writer?.destinationWritten();
  }

  closed(error: Error | undefined): void {
    this.closedAlready = true;
    this.#raw?.closed(error);
    this.#user.closed(error);
  }
}
