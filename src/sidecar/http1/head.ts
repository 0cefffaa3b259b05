import { BLANK, CLASS, CR, LF, TOKEN, VALUE } from './bytes.ts';
import type { Rejection } from './reasons.ts';

export interface HeadLimits {
  /** Bytes of the whole head, its empty line included. */
  readonly maxBytes: number;
  readonly maxFields: number;
}

/** Fields that the relay acts on; every other one is `OTHER`. */
export const NAMES = [
  'other',
  'te',
  'host',
  'expect',
  'upgrade',
  'trailer',
  'connection',
  'keep-alive',
  'traceparent',
  'x-request-id',
  'content-length',
  'http2-settings',
  'x-forwarded-for',
  'proxy-connection',
  'transfer-encoding',
  'x-forwarded-proto',
  'sec-websocket-key',
  'proxy-authenticate',
  'proxy-authorization',
  'sec-websocket-accept',
  'x-forwarded-client-cert',
] as const;
export type KnownName = (typeof NAMES)[number];

/** One field line. Positions are in the text of its head; the name is [line, nameEnd), the line ends before `next`. */
export interface Field {
  readonly name: KnownName;
  readonly line: number;
  readonly nameEnd: number;
  /** The value without blanks around it is [valueStart, valueEnd). */
  readonly valueStart: number;
  readonly valueEnd: number;
  readonly next: number;
}

export function fieldValue(text: string, { valueStart, valueEnd }: Field): string {
  return text.slice(valueStart, valueEnd);
}

/** A head whose lines are well formed; what they say is not judged yet. */
export interface RawHead {
  /** As latin1: one char is one byte, both ways. */
  readonly text: string;
  /** The start line is [start, startEnd). */
  readonly start: number;
  readonly startEnd: number;
  readonly fields: readonly Field[];
}

const SMALLEST = 1_024;

/**
 * Reads heads, however their bytes are cut (RFC 9112 2-5, and stricter: no bare CR or LF, no folds, no blank before a
 * colon). One head at a time; after a rejection the reader is of no more use.
 */
export class HeadReader {
  readonly #limits: HeadLimits;
  /** Bytes of an unfinished head, the first `#held` of its memory. */
  #own: Buffer | undefined;
  #held = 0;
  #fields: Field[] = [];
  /** What the push under way looks at: the head begins at `#base` of these bytes and is `#size` long so far. */
  #bytes: Buffer = NOTHING;
  #base = 0;
  #size = 0;
  /** Start of the line to be read next. */
  #at = 0;
  #start = 0;
  #startEnd = -1;
  #counted = 0;
  #emptyLines = 0;
  /** How many bytes of the last push belonged to the head that it completed. */
  taken = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** Whether a head was begun and not ended. */
  get begun(): boolean {
    return this.#held > 0;
  }

  /**
   * Takes bytes [from, to). The head, once complete: then `taken` of the bytes belonged to it. Undefined when more is
   * needed, and all were taken.
   */
  push(buffer: Buffer, from: number, to: number): RawHead | Rejection | undefined {
    const held = this.#held;
    // An empty line may come first and does not count; one byte more tells that a head is too large.
    const end = Math.min(to, from + this.#limits.maxBytes + 3 - held);
    this.#size = held + end - from;
    if (held === 0) {
      this.#bytes = buffer;
      this.#base = from;
    } else {
      this.#bytes = this.#keep(buffer, from, end);
      this.#base = 0;
      // Until a line ends there is nothing to judge: each byte is looked at once.
      if (!buffer.subarray(from, end).includes(LF)) return this.#checkSize(this.#size);
    }
    const result = this.#lines();
    if (result === undefined && held === 0) this.#keep(buffer, from, end);
    else if (typeof result === 'object') this.taken -= held;
    this.#bytes = NOTHING;
    return result;
  }

  #lines(): RawHead | Rejection | undefined {
    const bytes = this.#bytes;
    const base = this.#base;
    const size = this.#size;
    const { maxFields } = this.#limits;
    for (;;) {
      if (this.#at >= size) return this.#checkSize(size);
      const first = bytes[base + this.#at] ?? 0;
      if (first === CR) {
        if (this.#at + 1 === size) return this.#checkSize(size);
        if (bytes[base + this.#at + 1] !== LF) return 'bare_cr';
        if (this.#startEnd >= 0) return this.#finish(this.#at + 2);
        // RFC 9112 2.2: an empty line before a request is forgiven, once.
        if (++this.#emptyLines > 1) return 'bad_start_line';
        this.#at += 2;
        this.#start = this.#at;
        continue;
      }
      const fault = this.#startEnd < 0 ? this.#startLine(first) : this.#field(first);
      if (fault === '') return this.#checkSize(size);
      if (fault !== undefined) return fault;
      if (this.#counted > maxFields) return 'too_many_fields';
      const over = this.#checkSize(this.#at);
      if (over !== undefined) return over;
    }
  }

  /** Undefined when the line was taken, '' when it is not complete. */
  #startLine(first: number): Rejection | '' | undefined {
    if (first === LF) return 'bare_lf';
    const bytes = this.#bytes;
    const end = this.#base + this.#size;
    let cr = -1;
    let i = this.#base + this.#at;
    for (; i < end && bytes[i] !== LF; i++) if (bytes[i] === CR && cr < 0) cr = i;
    if (i === end) return '';
    if (bytes[i - 1] !== CR) return 'bare_lf';
    if (cr !== i - 1) return 'bare_cr';
    this.#startEnd = cr - this.#base;
    this.#at = i + 1 - this.#base;
    return undefined;
  }

  #field(first: number): Rejection | '' | undefined {
    if (((CLASS[first] ?? 0) & BLANK) !== 0) return 'folded_field';
    const bytes = this.#bytes;
    const base = this.#base;
    const end = base + this.#size;
    const line = base + this.#at;
    let i = line;
    while (i < end && ((CLASS[bytes[i] ?? 0] ?? 0) & TOKEN) !== 0) i++;
    const nameEnd = i;
    if (i === end) return '';
    if (i === line || bytes[i] !== 58) return bytes[i] === LF ? 'bare_lf' : 'bad_field_name';
    i++;
    while (i < end && ((CLASS[bytes[i] ?? 0] ?? 0) & BLANK) !== 0) i++;
    const valueStart = i;
    while (i < end && ((CLASS[bytes[i] ?? 0] ?? 0) & VALUE) !== 0) i++;
    if (i === end) return '';
    if (bytes[i] === LF) return 'bare_lf';
    if (bytes[i] !== CR) return 'bad_field_value';
    if (i + 1 === end) return '';
    if (bytes[i + 1] !== LF) return 'bare_cr';
    let valueEnd = i;
    while (valueEnd > valueStart && ((CLASS[bytes[valueEnd - 1] ?? 0] ?? 0) & BLANK) !== 0) valueEnd--;
    const name = nameOf(bytes, line, nameEnd);
    // What a sidecar before us added must not make a request too large that it let pass.
    if (name !== 'x-request-id' && name !== 'traceparent') this.#counted++;
    const next = i + 2 - base;
    this.#fields.push({
      name,
      line: line - base,
      nameEnd: nameEnd - base,
      valueStart: valueStart - base,
      valueEnd: valueEnd - base,
      next,
    });
    this.#at = next;
    return undefined;
  }

  #checkSize(size: number): Rejection | undefined {
    if (size - this.#start <= this.#limits.maxBytes) return undefined;
    return this.#startEnd < 0 || this.#startEnd - this.#start > this.#limits.maxBytes
      ? 'target_too_long'
      : 'head_too_large';
  }

  #finish(end: number): RawHead | Rejection {
    const over = this.#checkSize(end);
    if (over !== undefined) return over;
    const text = this.#bytes.toString('latin1', this.#base, this.#base + end);
    const head = { text, start: this.#start, startEnd: this.#startEnd, fields: this.#fields };
    this.taken = end;
    this.#own = undefined;
    this.#fields = [];
    this.#held = this.#at = this.#start = this.#emptyLines = this.#counted = 0;
    this.#startEnd = -1;
    return head;
  }

  /** Adds bytes of an unfinished head to those there are. */
  #keep(buffer: Buffer, from: number, to: number): Buffer {
    const size = this.#held + to - from;
    let own = this.#own ?? NOTHING;
    if (own.length < size) {
      const larger = Buffer.allocUnsafeSlow(Math.max(SMALLEST, 2 * size));
      own.copy(larger, 0, 0, this.#held);
      own = this.#own = larger;
    }
    buffer.copy(own, this.#held, from, to);
    this.#held = size;
    return own;
  }
}

const NOTHING = Buffer.alloc(0);

const BY_LENGTH: ReadonlyArray<ReadonlyArray<{ readonly name: KnownName; readonly bytes: Uint8Array }>> = byLength();

function nameOf(bytes: Uint8Array, from: number, to: number): KnownName {
  for (const known of BY_LENGTH[to - from] ?? NONE) if (isName(bytes, from, known.bytes)) return known.name;
  return 'other';
}

const NONE: never[] = [];

/** ASCII case does not count; `lower` is in lower case. */
function isName(bytes: Uint8Array, from: number, lower: Uint8Array): boolean {
  for (let i = 0; i < lower.length; i++) {
    const byte = bytes[from + i] ?? 0;
    if (byte !== lower[i] && (byte < 65 || byte > 90 || byte + 32 !== lower[i])) return false;
  }
  return true;
}

function byLength() {
  const longest = Math.max(...NAMES.map((name) => name.length));
  return Array.from({ length: longest + 1 }, (_, length) =>
    NAMES.filter((name) => name !== 'other' && name.length === length).map((name) => ({
      name,
      bytes: Uint8Array.from(Buffer.from(name)),
    })),
  );
}
