import { SECOND } from '../../base/clock.ts';
import { ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameScanner, HEADERS, PING, SETTINGS } from './frames.ts';
import { MAX_STREAMS } from './limits.ts';
import type { CloseReason } from './reasons.ts';

const WINDOW = 10 * SECOND;
const MAX_SETTINGS_FRAMES = 20;
const MAX_PINGS = 50;
const MAX_REJECTED_HEADS = 20;
/** Of frames that carry no content, in a second, beyond what content and requests account for. */
const MAX_EMPTY_BYTES = 1024 * 1024;
const HEAD_ALLOWANCE = 4 * 1024;

/**
 * Counts what one peer sends, where Node has no limit that ends the connection (threats.md X8-X11, X18). Pings are
 * allowed as content moves: gRPC measures the bandwidth with them.
 */
export class Guard {
  readonly #scanner: FrameScanner;
  readonly #now: () => number;
  readonly #server: boolean;
  readonly #ended = new Set<number>();
  #windowFrom = 0;
  #settings = 0;
  #pings = 0;
  #rejected = 0;
  #moved = 0;
  #secondFrom = 0;
  #empty = 0;
  #highest = 0;
  /** Header blocks of new streams, since the last look. */
  #heads = 0;
  /** How many of them nghttp2 let through. */
  #opened = 0;
  #open = 0;
  /** ms since the epoch; 0 while no header block is under way. */
  #blockSince: number;
  #inBlock = false;

  constructor(side: 'server' | 'client', now: () => number) {
    this.#now = now;
    this.#server = side === 'server';
    this.#blockSince = now();
    this.#scanner = new FrameScanner(side, (type, flags, stream, length) => this.#frame(type, flags, stream, length));
  }

  /** Looks at bytes before they go on. A reason: they should not, and the connection should end. */
  feed(chunk: Buffer): CloseReason | undefined {
    const now = this.#now();
    this.#turnOver(now);
    this.#scanner.feed(chunk);
    const under = this.#inBlock || this.#scanner.begun;
    if (!under) this.#blockSince = 0;
    else if (this.#blockSince === 0) this.#blockSince = now;
    if (this.#settings > MAX_SETTINGS_FRAMES) return 'settings_flood';
    if (this.#pings > MAX_PINGS + this.#moved) return 'ping_flood';
    if (this.#rejected > MAX_REJECTED_HEADS) return 'rejected_heads';
    return this.#empty > MAX_EMPTY_BYTES ? 'empty_flood' : undefined;
  }

  /** A stream was opened, by whichever side opens them. */
  opened(): void {
    this.#opened++;
    this.#open++;
  }

  closed(stream: number | undefined): void {
    this.#open--;
    if (stream !== undefined) this.#ended.delete(stream);
  }

  /** Content went to the peer. */
  sent(bytes: number): void {
    this.#moved++;
    this.#empty -= bytes >> 4;
  }

  /** Whether the peer itself ended the stream: Node tells the same of one that was reset without an error. */
  endedByPeer(stream: number): boolean {
    return this.#ended.has(stream);
  }

  /** How long a header block, or a frame of no content, has been under way, ms. */
  blockedFor(now: number): number {
    return this.#blockSince === 0 ? 0 : now - this.#blockSince;
  }

  /** It was us who did not read. */
  forgive(now: number): void {
    if (this.#blockSince > 0) this.#blockSince = now;
  }

  #frame(type: number, flags: number, stream: number, length: number): void {
    this.#empty += 9;
    // Each frame that is complete is progress; a block of headers is one until its end.
    if (!this.#inBlock) this.#blockSince = 0;
    if (type === DATA) {
      this.#empty -= length;
      if (length > 0) this.#moved++;
      if ((flags & END_STREAM) !== 0) this.#ended.add(stream);
      return;
    }
    this.#empty += length;
    if (type === HEADERS) {
      if ((flags & END_STREAM) !== 0) this.#ended.add(stream);
      this.#head(stream);
    }
    if (type === HEADERS || type === CONTINUATION) this.#inBlock = (flags & END_HEADERS) === 0;
    else if (type === SETTINGS && (flags & ACK) === 0) this.#settings++;
    else if (type === PING && (flags & ACK) === 0) this.#pings++;
  }

  #head(stream: number): void {
    if (!this.#server || stream <= this.#highest) return;
    this.#highest = stream;
    // Beyond the limit it is refused as such, which Node counts.
    if (this.#open + this.#heads < MAX_STREAMS) this.#heads++;
  }

  #turnOver(now: number): void {
    // Requests of the bytes before were announced by now.
    if (this.#server && this.#heads > this.#opened) this.#rejected += this.#heads - this.#opened;
    this.#empty -= this.#opened * HEAD_ALLOWANCE;
    this.#heads = this.#opened = 0;
    if (this.#open <= 0) this.#ended.clear();
    if (this.#empty < 0) this.#empty = 0;
    if (now - this.#secondFrom >= SECOND) {
      this.#secondFrom = now;
      this.#empty = 0;
    }
    if (now - this.#windowFrom < WINDOW) return;
    this.#windowFrom = now;
    this.#settings = this.#pings = this.#rejected = this.#moved = 0;
  }
}
