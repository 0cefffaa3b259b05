import { Duplex } from 'node:stream';
import { sharedBuffer } from '../buffers.ts';
import { type Link, type LinkUser, TAKEN } from '../link.ts';

interface LinkDuplexOptions {
  /** Looks at what arrived before it goes on; false: it must not. */
  readonly arrived: (chunk: Buffer) => boolean;
  readonly sent: (bytes: number) => void;
  /** The link is gone. Called once, last. */
  readonly closed: (error: Error | undefined) => void;
  /** How long the peer has to leave after we broke off, and after we ended in order, ms. */
  readonly lingerMs: number;
  readonly endMs: number;
}

/** A link as the stream that node:http2 wants. */
export class LinkDuplex extends Duplex {
  readonly #link: Link;
  readonly #options: LinkDuplexOptions;
  #written: (() => void) | undefined;
  #paused = false;
  #gone = false;
  #linger: NodeJS.Timeout | undefined;

  constructor(link: Link, options: LinkDuplexOptions) {
    // Who sends no more cannot take much either. While the reader waits, no more than one piece is kept: what was looked at
    // has been read when the next one comes.
    super({ allowHalfOpen: false, readableHighWaterMark: 1 });
    this.#link = link;
    this.#options = options;
    // 'error' is told by `closed`.
    this.on('error', () => {});
  }

  /** Starts delivery. Once, when somebody is there to read. */
  open(): void {
    const user: LinkUser = {
      space: () => sharedBuffer,
      filled: (n) => this.#filled(n),
      ended: () => this.#ended(),
      written: () => this.#sent(),
      closed: (error) => this.#closed(error),
    };
    this.#link.open(user);
  }

  #filled(n: number): boolean {
    // What comes after our end is thrown away, until the peer leaves.
    if (this.destroyed) return true;
    const chunk = Buffer.from(sharedBuffer.subarray(0, n));
    if (!this.#options.arrived(chunk)) return true;
    this.#paused = !this.push(chunk);
    return !this.#paused;
  }

  #ended(): void {
    if (this.destroyed) this.#link.reset();
    else this.push(null);
  }

  #sent(): void {
    const done = this.#written;
    this.#written = undefined;
    done?.();
  }

  #closed(error: Error | undefined): void {
    this.#gone = true;
    clearTimeout(this.#linger);
    this.#sent();
    this.destroy();
    this.#options.closed(error);
  }

  /** We read no more for now: the peer may be waiting for us. */
  get held(): boolean {
    return this.#paused;
  }

  /** Ends both ways at once. */
  reset(): void {
    this.#link.reset();
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // Asked for before the piece there is was handed over.
    setImmediate(() => this.#link.resume());
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#options.sent(chunk.length);
    if (this.#gone || this.#link.write(chunk) === TAKEN) done();
    else this.#written = done;
  }

  override _writev(chunks: ReadonlyArray<{ readonly chunk: Buffer }>, done: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'latin1', done);
  }

  override _final(done: () => void): void {
    if (!this.#gone) this.#link.end();
    this.#waitForPeer(this.#options.endMs);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#gone) {
      this.#link.end();
      this.#waitForPeer(this.#options.lingerMs);
      if (this.#paused) this.#link.resume();
    }
    done(error);
  }

  #waitForPeer(ms: number): void {
    clearTimeout(this.#linger);
    if (!this.#gone) this.#linger = setTimeout(() => this.#link.reset(), ms).unref();
  }
}
