import type { Http2Stream } from 'node:http2';

/** Bodies slower than this, over the window, are not sent in earnest. */
const SLOW_BODY = { bytes: 1_024, windowMs: 30_000 };

interface BodyOptions {
  readonly source: Http2Stream;
  readonly destination: Http2Stream;
  /** Content that went on. */
  readonly passed: (bytes: number) => void;
  /** The source has no more; whether that is its end the caller finds out. */
  readonly ended: () => void;
}

/** Carries the content of one direction; a destination that takes no more holds back its source, and so its peer. */
export class Body {
  readonly #options: BodyOptions;
  #bytes = 0;
  #waiting = false;
  #over = false;
  #slow = { since: 0, bytes: 0 };

  constructor(options: BodyOptions) {
    const { source, destination } = options;
    this.#options = options;
    source.on('data', this.#data);
    source.once('end', this.#end);
    destination.on('drain', this.#drain);
  }

  /** The destination has content to take, and does not. */
  get stalled(): boolean {
    return this.#waiting;
  }

  /** Whether what comes is less than an honest sender manages. Asked about once a second. */
  isSlow(now: number): boolean {
    if (this.#over || this.#waiting) {
      this.#slow = { since: now, bytes: this.#bytes };
      return false;
    }
    if (this.#slow.since === 0) this.#slow = { since: now, bytes: this.#bytes };
    if (now - this.#slow.since < SLOW_BODY.windowMs) return false;
    const slow = this.#bytes - this.#slow.bytes < SLOW_BODY.bytes;
    this.#slow = { since: now, bytes: this.#bytes };
    return slow;
  }

  /** Nothing goes on any more. */
  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    const { source, destination } = this.#options;
    source.off('data', this.#data);
    source.off('end', this.#end);
    destination.off('drain', this.#drain);
  }

  readonly #data = (chunk: Buffer) => {
    const { source, destination, passed } = this.#options;
    this.#bytes += chunk.length;
    passed(chunk.length);
    if (destination.destroyed || destination.writableEnded || destination.write(chunk)) return;
    this.#waiting = true;
    source.pause();
  };

  readonly #drain = () => {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#options.source.resume();
  };

  readonly #end = () => {
    this.abandon();
    this.#options.ended();
  };
}
