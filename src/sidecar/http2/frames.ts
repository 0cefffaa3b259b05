/** Types of frames, RFC 9113 6. */
export const DATA = 0;
export const HEADERS = 1;
export const SETTINGS = 4;
export const PING = 6;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const END_HEADERS = 4;
/** Of SETTINGS and PING. */
export const ACK = 1;

const HEAD_BYTES = 9;
const PREFACE_BYTES = 24;

/** Told of each frame when its head is there, before nghttp2 sees a byte of it. */
export type FrameSeen = (type: number, flags: number, stream: number, length: number) => void;

/**
 * Follows the frames of one connection in the bytes that arrive: Node tells of few of them, and counts none. It judges
 * nothing: after bytes that are no HTTP/2, nghttp2 ends the connection.
 */
export class FrameScanner {
  readonly #seen: FrameSeen;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #have = 0;
  /** Bytes to pass over: of the preface, or of a frame. */
  #skip: number;
  #content = false;

  constructor(side: 'server' | 'client', seen: FrameSeen) {
    this.#skip = side === 'server' ? PREFACE_BYTES : 0;
    this.#seen = seen;
  }

  /** Whether a frame, or the preface, was begun and not ended; content may take its time. */
  get begun(): boolean {
    return this.#have > 0 || (this.#skip > 0 && !this.#content);
  }

  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const n = Math.min(this.#skip, chunk.length - at);
        this.#skip -= n;
        at += n;
        continue;
      }
      const n = chunk.copy(this.#head, this.#have, at, at + HEAD_BYTES - this.#have);
      this.#have += n;
      at += n;
      if (this.#have < HEAD_BYTES) return;
      this.#have = 0;
      const length = this.#head.readUIntBE(0, 3);
      const type = this.#head[3] ?? 0;
      this.#skip = length;
      this.#content = type === DATA;
      this.#seen(type, this.#head[4] ?? 0, this.#head.readUInt32BE(5) & 0x7fffffff, length);
    }
  }
}
