import { SECOND } from '../../base/clock.ts';
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from '../options.ts';
import { ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameScanner, HEADERS, PING, SETTINGS } from './frames.ts';
import type { CloseReason } from './reasons.ts';

const WINDOW = 10 * SECOND;
const HEAD_ALLOWANCE = 4 * 1024;

/**
 * Counts what one peer sends, where Node has no limit that ends the connection (threats.md X8-X11, X18). Pings are
 * allowed as content moves: gRPC measures the bandwidth with them.
 */
export class Guard {
  readonly #scanner: FrameScanner;
  readonly #now: () => number;
  readonly #limits: Http2Limits;
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

  constructor(side: 'server' | 'client', now: () => number, limits: Http2Limits = DEFAULT_HTTP2_LIMITS) {
    this.#now = now;
    this.#limits = limits;
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
    const { settingsFrames, pings, rejectedHeads, emptyBytes } = this.#limits;
    if (this.#settings > settingsFrames) return 'settings_flood';
    if (this.#pings > pings + this.#moved) return 'ping_flood';
    if (this.#rejected > rejectedHeads) return 'rejected_heads';
    return this.#empty > emptyBytes ? 'empty_flood' : undefined;
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
    if (this.#open + this.#heads < this.#limits.maxStreams) this.#heads++;
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
