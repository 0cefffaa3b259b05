import { BULK, giveBuffer, highWater, loseBuffer, sharedBuffer, takeConnectionBuffer } from '../buffers.ts';
import { HELD } from '../link.ts';
import type { Body } from './body.ts';
import type { Rejection } from './reasons.ts';
import type { BodyReader, BodyWriter, Wire } from './wire.ts';

/** Room for the size line of one chunk, and for the CR LF behind it. */
const CHUNK_BEFORE = 8;
const CHUNK_AFTER = 2;

export interface PumpOptions {
  readonly source: Wire;
  readonly destination: Wire;
  readonly body: Body;
  /** Puts every piece into a chunk of its own, and ends with the end of the source. */
  readonly chunk?: boolean;
  /** The body is read and all of it was handed to the destination. */
  readonly done: () => void;
  readonly fault: (fault: Rejection) => void;
}

/**
 * Carries one body. Small pieces are used up where they arrived; when the destination is busy or pieces are large, they
 * are gathered in memory of the pump, whose part [head, tail) waits. The pump, not the wires, knows what is paused.
 */
export class BodyPump implements BodyReader, BodyWriter {
  readonly #source: Wire;
  readonly #destination: Wire;
  readonly #body: Body;
  readonly #chunk: boolean;
  readonly #done: () => void;
  readonly #fault: (fault: Rejection) => void;
  #own: Buffer | undefined;
  #head = 0;
  #tail = 0;
  #held = 0;
  #paused = false;
  /** All of the body was read. */
  #read = false;
  #over = false;
  #flushQueued = false;
  /** Bytes of content and framing that went on. */
  passed = 0;

  constructor({ source, destination, body, chunk, done, fault }: PumpOptions) {
    this.#source = source;
    this.#destination = destination;
    this.#body = body;
    this.#chunk = chunk === true;
    this.#done = done;
    this.#fault = fault;
  }

  /** Everything up to the end of the body was read. */
  get allRead(): boolean {
    return this.#read || this.#over;
  }

  /** Bytes that the destination has not taken. */
  get waiting(): number {
    return this.#tail + (this.#over ? 0 : (this.#source.link.held ?? 0));
  }

  /** The destination has bytes to take, and does not. */
  get stalled(): boolean {
    return this.#head < this.#tail || this.#held > 0;
  }

  /**
   * Sends `head` and what is there of the body, bytes [from, to), then reads on by itself. Returns the position behind
   * the body when it ended there, else `to`.
   */
  start(head: string, buffer: Buffer, from: number, to: number): number {
    const n = this.#body.feed(buffer, from, to);
    const { fault, done, used } = this.#body;
    if (fault !== undefined) {
      this.#over = true;
      this.#fault(fault);
      return to;
    }
    this.passed += n;
    if (this.#chunk) {
      this.#destination.send(n === 0 ? head : `${head}${n.toString(16)}\r\n`, buffer, from, from + n);
      if (n > 0) this.#destination.send('\r\n');
    } else this.#destination.send(head, buffer, from, from + n);
    if (done) {
      this.#over = true;
      this.#done();
      return used;
    }
    this.#source.reader = this;
    this.#destination.writer = this;
    if (this.#chunk) this.#own = takeConnectionBuffer();
    this.#source.moved();
    this.#source.go();
    return to;
  }

  space(): Buffer {
    if (this.#own === undefined) return sharedBuffer;
    return this.#chunk
      ? this.#own.subarray(this.#tail + CHUNK_BEFORE, this.#own.length - CHUNK_AFTER)
      : this.#own.subarray(this.#tail);
  }

  filled(buffer: Buffer, n: number): boolean {
    const passed = this.#body.feed(buffer, 0, n);
    const { fault, done, used } = this.#body;
    if (fault !== undefined) {
      this.abandon();
      this.#fault(fault);
      return false;
    }
    this.passed += passed;
    if (passed > 0) this.#take(buffer, passed, n);
    if (done) {
      this.#stopReading();
      if (used < n) this.#source.filledRest(buffer, used, n);
      this.#finishIfDone();
      return true;
    }
    this.#paused = this.#full;
    return !this.#paused;
  }

  ended(): boolean {
    if (!this.#chunk) return false;
    this.#stopReading();
    this.#finishIfDone();
    return true;
  }

  destinationWritten(): void {
    if (this.#held > 0) {
      this.#head = this.#held;
      this.#held = 0;
      if (this.#head === this.#tail) this.#head = this.#tail = 0;
    }
    this.#advance();
  }

  /** The exchange is over before its time: nothing more is read or written. The memory goes once nothing holds it. */
  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopReading();
    if (this.#destination.writer === this) this.#destination.writer = undefined;
    // A destination that still holds our memory keeps it; it is lost to the pool, never shared.
    if (this.#held === 0) this.#releaseOwn();
    else if (this.#own !== undefined) loseBuffer(this.#own);
  }

  get #full(): boolean {
    return this.#own !== undefined && this.#tail >= highWater(this.#own);
  }

  #take(buffer: Buffer, passed: number, n: number): void {
    if (this.#chunk) this.#takeChunk(buffer, passed);
    else if (this.#own === undefined) this.#takeShared(buffer, passed, n);
    else {
      // It was read behind what waits.
      this.#tail += passed;
      if (n >= BULK && !this.#full) this.#queueFlush();
      else this.#flush();
      if (n < BULK && this.#tail === 0) this.#releaseOwn();
    }
  }

  #takeShared(buffer: Buffer, passed: number, n: number): void {
    if (!this.#destination.busy && n < BULK) {
      this.#destination.write(buffer.subarray(0, passed));
      return;
    }
    const own = takeConnectionBuffer();
    buffer.copy(own, 0, 0, passed);
    this.#own = own;
    this.#tail = passed;
    this.#queueFlush();
  }

  #takeChunk(buffer: Buffer, passed: number): void {
    const own = this.#own ?? takeConnectionBuffer();
    this.#own = own;
    const at = this.#tail;
    if (buffer === sharedBuffer) buffer.copy(own, at + CHUNK_BEFORE, 0, passed);
    own.write(`${passed.toString(16).padStart(CHUNK_BEFORE - 2, '0')}\r\n`, at, 'latin1');
    own.write('\r\n', at + CHUNK_BEFORE + passed, 'latin1');
    this.#tail = at + CHUNK_BEFORE + passed + CHUNK_AFTER;
    this.#flush();
  }

  /** Records of a bulky TLS source come one by one within a loop turn: gather them, so that they leave in one write. */
  #queueFlush(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    setImmediate(() => {
      this.#flushQueued = false;
      if (!this.#over) this.#advance();
    });
  }

  #advance(): void {
    this.#flush();
    if (this.#own !== undefined && !this.#read) this.#source.moved();
    if (this.#paused && !this.#full) {
      this.#paused = false;
      this.#source.go();
    }
    this.#finishIfDone();
  }

  #flush(): void {
    const own = this.#own;
    if (own === undefined || this.#destination.busy || this.#held > 0 || this.#head === this.#tail) return;
    const result = this.#destination.write(own.subarray(this.#head, this.#tail));
    if (result === HELD) this.#held = this.#tail;
    else this.#head = this.#tail = 0;
  }

  #finishIfDone(): void {
    if (!this.#read || this.#over) return;
    if (!this.#flushQueued) this.#flush();
    if (this.stalled) return;
    this.#over = true;
    this.#destination.writer = undefined;
    this.#releaseOwn();
    if (this.#chunk) this.#destination.send('0\r\n\r\n');
    this.#done();
  }

  #stopReading(): void {
    this.#read = true;
    if (this.#source.reader !== this) return;
    this.#source.reader = undefined;
    // Bytes still arrive where the source was told to; what this memory holds is written from it.
    this.#source.moved();
    if (this.#paused) {
      this.#paused = false;
      this.#source.go();
    }
  }

  #releaseOwn(): void {
    if (this.#own === undefined) return;
    giveBuffer(this.#own);
    this.#own = undefined;
    this.#head = this.#tail = this.#held = 0;
  }
}
