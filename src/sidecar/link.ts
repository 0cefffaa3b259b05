/** The bytes were taken and the link is idle. */
export const TAKEN = 0;
/** The bytes were taken and their memory is free; the next write must wait for `written()`. */
export const BUSY = 1;
/** The memory belongs to the link until `written()`. */
export const HELD = 2;
export type WriteResult = typeof TAKEN | typeof BUSY | typeof HELD;

/** What a link tells its user. Memory belongs to the user: the link reads into it. */
export interface LinkUser {
  /** Where the next bytes go; at least one byte long. Asked for again after each `filled`. */
  space(): Buffer;
  /** `n` bytes arrived at the start of the last `space()`. Returning false stops reading until `resume()`. */
  filled(n: number): boolean;
  /** The peer sends no more; it may still read. */
  ended(): void;
  /** A write that returned BUSY or HELD has left. */
  written(): void;
  /** The link is gone; `error` when it did not end in order. Called once, last. */
  closed(error: Error | undefined): void;
}

/**
 * What carries bytes to one side of a relay: a plaintext socket, a TLS connection of its own, or a stream of a shared
 * connection. Relays are written against this, never against a socket. At most one write is unfinished at a time.
 */
export interface Link {
  /** Starts delivery. Once. */
  open(user: LinkUser): void;
  resume(): void;
  /** Sends bytes. After the link broke, takes and drops them; `closed` follows. */
  write(chunk: Buffer): WriteResult;
  /** The same for a short text of latin1, one byte a character. With no memory to hold it is never HELD. */
  writeText(text: string): WriteResult;
  /** No more writes: half-close (FIN, after close_notify on TLS). */
  end(): void;
  /** Ends both ways at once so that the peer sees an error (RST on TCP), never a clean end. */
  reset(): void;
  /** Asks for `space()` again while no read is under way, so that the user can take its memory back. */
  renewSpace(): void;
  /** Bytes that it keeps itself until its user takes them; none unless given. */
  readonly held?: number;
}
