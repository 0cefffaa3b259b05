import { CLASS, CR, LF, TOKEN, VALUE } from './bytes.ts';
import type { Framing } from './framing.ts';
import type { Rejection } from './reasons.ts';

/** Of the extensions of one chunk, and of all chunks of a message. */
const MAX_EXTENSION = 256;
const MAX_EXTENSIONS = 4 * 1024;
const MAX_TRAILERS = 8 * 1024;

/** How the body goes on to the other side. */
export type Passing =
  /** The bytes of its framing too, without extensions and trailers. */
  | 'framed'
  /** The content alone. */
  | 'content';

/**
 * Follows one body to its end, whatever the cuts. It works in place: what may go on is moved to the front, and is never
 * longer than what came.
 */
export interface Body {
  /** Looks at bytes [from, to); what may go on is then at [from, from + the returned number). */
  feed(buffer: Buffer, from: number, to: number): number;
  /** Position behind the last byte of the last feed that belonged to the body. */
  readonly used: number;
  /** Nothing more belongs to it. */
  readonly done: boolean;
  readonly fault: Rejection | undefined;
}

export function followBody(framing: Framing, passing: Passing = 'framed'): Body {
  if (framing.kind === 'chunked') return new ChunkedBody(passing === 'framed');
  if (framing.kind === 'close') return new LengthBody(Number.POSITIVE_INFINITY);
  return new LengthBody(framing.kind === 'length' ? framing.length : 0);
}

class LengthBody implements Body {
  #left: number;
  used = 0;
  readonly fault = undefined;

  constructor(length: number) {
    this.#left = length;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  feed(_buffer: Buffer, from: number, to: number): number {
    const taken = Math.min(to - from, this.#left);
    this.#left -= taken;
    this.used = from + taken;
    return taken;
  }
}

/** Where in the chunked coding the next byte is (RFC 9112 7.1). */
const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
/** At the start of a trailer line, or of the empty line that ends the body. */
const TRAILER = 6;
const TRAILER_LINE = 7;
const TRAILER_LF = 8;
const END_LF = 9;
const DONE = 10;

/** Where in an extension. */
const NAME_START = 0;
const NAME = 1;
const VALUE_START = 2;
const TOKEN_VALUE = 3;
const QUOTED = 4;
const ESCAPED = 5;
const QUOTE_END = 6;
const [SEMICOLON, EQUALS, QUOTE, BACKSLASH] = [0x3b, 0x3d, 0x22, 0x5c];

class ChunkedBody implements Body {
  readonly #framed: boolean;
  #state = SIZE;
  #size = 0;
  #digits = 0;
  #in = NAME_START;
  #extension = 0;
  #extensions = 0;
  #left = 0;
  #trailer = '';
  #trailers = 0;
  used = 0;
  fault: Rejection | undefined;

  constructor(framed: boolean) {
    this.#framed = framed;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  feed(buffer: Buffer, from: number, to: number): number {
    let out = from;
    let i = from;
    while (i < to && this.fault === undefined && this.#state !== DONE) {
      if (this.#state === DATA) {
        const n = Math.min(to - i, this.#left);
        if (out !== i) buffer.copyWithin(out, i, i + n);
        out += n;
        i += n;
        this.#left -= n;
        if (this.#left === 0) this.#state = DATA_CR;
        continue;
      }
      const byte = buffer[i++] ?? 0;
      // A framing byte goes on once it is known to be one; extensions and trailers never do.
      if (this.#step(byte) && this.#framed) buffer[out++] = byte;
    }
    this.used = i;
    return out - from;
  }

  /** Takes one byte of framing. True when it goes on. */
  #step(byte: number): boolean {
    switch (this.#state) {
      case SIZE:
        return this.#stepSize(byte);
      case EXTENSION:
        if (byte === CR && (this.#in === NAME || this.#in === TOKEN_VALUE || this.#in === QUOTE_END)) {
          this.#state = SIZE_LF;
          return true;
        }
        return this.#stepExtension(byte);
      case SIZE_LF:
        if (byte !== LF) return this.#bad('bad_chunk');
        this.#left = this.#size;
        this.#state = this.#size === 0 ? TRAILER : DATA;
        this.#size = this.#digits = this.#extension = 0;
        return true;
      case DATA_CR:
        if (byte !== CR) return this.#bad('bad_chunk');
        this.#state = DATA_LF;
        return true;
      case DATA_LF:
        if (byte !== LF) return this.#bad('bad_chunk');
        this.#state = SIZE;
        return true;
      default:
        return this.#stepTrailer(byte);
    }
  }

  #stepSize(byte: number): boolean {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      // 15 digits stay below 2^60; what is longer than 2^53 cannot be counted.
      if (++this.#digits > 15) return this.#bad('bad_chunk');
      this.#size = this.#size * 16 + digit;
      return this.#size <= Number.MAX_SAFE_INTEGER || this.#bad('bad_chunk');
    }
    if (this.#digits === 0) return this.#bad('bad_chunk');
    if (byte === CR) {
      this.#state = SIZE_LF;
      return true;
    }
    if (byte !== SEMICOLON) return this.#bad('bad_chunk');
    this.#state = EXTENSION;
    this.#in = NAME_START;
    return this.#countExtension();
  }

  /** RFC 9112 7.1.1, without blanks: what a next hop could read otherwise is refused, though none of it goes on. */
  #stepExtension(byte: number): boolean {
    const kind = CLASS[byte] ?? 0;
    const token = (kind & TOKEN) !== 0;
    switch (this.#in) {
      case NAME_START:
        if (!token) return this.#bad('bad_chunk');
        this.#in = NAME;
        break;
      case NAME:
        if (byte === EQUALS) this.#in = VALUE_START;
        else if (byte === SEMICOLON) this.#in = NAME_START;
        else if (!token) return this.#bad('bad_chunk');
        break;
      case VALUE_START:
        if (byte === QUOTE) this.#in = QUOTED;
        else if (token) this.#in = TOKEN_VALUE;
        else return this.#bad('bad_chunk');
        break;
      case TOKEN_VALUE:
        if (byte === SEMICOLON) this.#in = NAME_START;
        else if (!token) return this.#bad('bad_chunk');
        break;
      case QUOTED:
        if (byte === QUOTE) this.#in = QUOTE_END;
        else if (byte === BACKSLASH) this.#in = ESCAPED;
        else if ((kind & VALUE) === 0) return this.#bad('bad_chunk');
        break;
      case ESCAPED:
        if ((kind & VALUE) === 0) return this.#bad('bad_chunk');
        this.#in = QUOTED;
        break;
      default:
        if (byte !== SEMICOLON) return this.#bad('bad_chunk');
        this.#in = NAME_START;
    }
    return this.#countExtension();
  }

  #countExtension(): false {
    this.#extension++;
    this.#extensions++;
    const over = this.#extension > MAX_EXTENSION || this.#extensions > MAX_EXTENSIONS;
    return over ? this.#bad('chunk_extension_too_long') : false;
  }

  #stepTrailer(byte: number): boolean {
    switch (this.#state) {
      case TRAILER:
        if (byte === CR) {
          this.#state = END_LF;
          // The empty line goes on as a whole: its first byte alone would wait for an end that may not come.
          return true;
        }
        this.#trailer = '';
        this.#state = TRAILER_LINE;
        return this.#trailerByte(byte);
      case TRAILER_LINE:
        if (byte !== CR) return this.#trailerByte(byte);
        this.#state = TRAILER_LF;
        return false;
      case TRAILER_LF:
        if (byte !== LF || !isTrailer(this.#trailer)) return this.#bad('bad_trailer');
        this.#state = TRAILER;
        return false;
      default:
        if (byte !== LF) return this.#bad('bad_trailer');
        this.#state = DONE;
        return true;
    }
  }

  #trailerByte(byte: number): boolean {
    if (++this.#trailers > MAX_TRAILERS || byte === LF || (byte < 32 && byte !== 9) || byte === 127) {
      return this.#bad('bad_trailer');
    }
    this.#trailer += String.fromCharCode(byte);
    return false;
  }

  #bad(fault: Rejection): false {
    this.fault = fault;
    return false;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** A field line whose name says nothing of framing (RFC 9110 6.5.1). All of them are dropped. */
function isTrailer(line: string): boolean {
  const name = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):/.exec(line)?.[1]?.toLowerCase();
  return name !== undefined && name !== 'content-length' && name !== 'transfer-encoding';
}
