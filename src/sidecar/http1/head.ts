import { BLANK, CLASS, CR, equalsIgnoringCase, LF, TOKEN, VALUE } from './bytes.ts';
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
  /** Just behind the empty line. */
  readonly end: number;
}

/**
 * Reads heads, however their bytes are cut (RFC 9112 2-5, and stricter: no bare CR or LF, no folds, no blank before a
 * colon). One head at a time; after a rejection the reader is of no more use.
 */
export class HeadReader {
  readonly #limits: HeadLimits;
  /** Bytes of an unfinished head. */
  #text = '';
  /** Start of the line to be read next. */
  #at = 0;
  #start = 0;
  #startEnd = -1;
  #fields: Field[] = [];
  #counted = 0;
  #emptyLines = 0;
  /** How many bytes of the last push belonged to the head that it completed. */
  taken = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** Whether a head was begun and not ended. */
  get begun(): boolean {
    return this.#text !== '';
  }

  /**
   * Takes bytes [from, to). The head, once complete: then `taken` of the bytes belonged to it. Undefined when more is
   * needed, and all were taken.
   */
  push(buffer: Buffer, from: number, to: number): RawHead | Rejection | undefined {
    const held = this.#text.length;
    // An empty line may come first and does not count; one byte more tells that a head is too large.
    const room = this.#limits.maxBytes + 3 - held;
    const piece = buffer.toString('latin1', from, Math.min(to, from + room));
    this.#text = held === 0 ? piece : this.#text + piece;
    // Until a line ends there is nothing to judge: each byte is looked at once.
    if (held > 0 && !piece.includes('\n')) return this.#checkSize();
    const result = this.#lines();
    if (typeof result !== 'object') return result;
    this.taken = result.end - held;
    return result;
  }

  #lines(): RawHead | Rejection | undefined {
    const text = this.#text;
    const { maxFields } = this.#limits;
    for (;;) {
      const first = text.charCodeAt(this.#at);
      if (Number.isNaN(first)) return this.#checkSize();
      if (first === CR) {
        const second = text.charCodeAt(this.#at + 1);
        if (Number.isNaN(second)) return this.#checkSize();
        if (second !== LF) return 'bare_cr';
        if (this.#startEnd >= 0) return this.#finish(this.#at + 2);
        // RFC 9112 2.2: an empty line before a request is forgiven, once.
        if (++this.#emptyLines > 1) return 'bad_start_line';
        this.#at += 2;
        this.#start = this.#at;
        continue;
      }
      const fault = this.#startEnd < 0 ? this.#startLine(first) : this.#field(first);
      if (fault === '') return this.#checkSize();
      if (fault !== undefined) return fault;
      if (this.#counted > maxFields) return 'too_many_fields';
      const over = this.#checkSize(this.#at);
      if (over !== undefined) return over;
    }
  }

  /** Undefined when the line was taken, '' when it is not complete. */
  #startLine(first: number): Rejection | '' | undefined {
    const text = this.#text;
    const lf = text.indexOf('\n', this.#at);
    if (first === LF) return 'bare_lf';
    if (lf < 0) return '';
    if (text.charCodeAt(lf - 1) !== CR) return 'bare_lf';
    if (text.indexOf('\r', this.#at) !== lf - 1) return 'bare_cr';
    this.#startEnd = lf - 1;
    this.#at = lf + 1;
    return undefined;
  }

  #field(first: number): Rejection | '' | undefined {
    const text = this.#text;
    const { length } = text;
    const line = this.#at;
    if (((CLASS[first] ?? 0) & BLANK) !== 0) return 'folded_field';
    let i = line;
    while (((CLASS[text.charCodeAt(i)] ?? 0) & TOKEN) !== 0) i++;
    const nameEnd = i;
    if (i === length) return '';
    if (i === line || text.charCodeAt(i) !== 58) return text.charCodeAt(i) === LF ? 'bare_lf' : 'bad_field_name';
    i++;
    while (((CLASS[text.charCodeAt(i)] ?? 0) & BLANK) !== 0) i++;
    const valueStart = i;
    while (((CLASS[text.charCodeAt(i)] ?? 0) & VALUE) !== 0) i++;
    if (i === length) return '';
    const stop = text.charCodeAt(i);
    if (stop === LF) return 'bare_lf';
    if (stop !== CR) return 'bad_field_value';
    if (i + 1 === length) return '';
    if (text.charCodeAt(i + 1) !== LF) return 'bare_cr';
    let valueEnd = i;
    while (valueEnd > valueStart && ((CLASS[text.charCodeAt(valueEnd - 1)] ?? 0) & BLANK) !== 0) valueEnd--;
    const next = i + 2;
    const name = nameOf(text, line, nameEnd);
    // What a sidecar before us added must not make a request too large that it let pass.
    if (name !== 'x-request-id' && name !== 'traceparent') this.#counted++;
    this.#fields.push({ name, line, nameEnd, valueStart, valueEnd, next });
    this.#at = next;
    return undefined;
  }

  #checkSize(size = this.#text.length): Rejection | undefined {
    if (size - this.#start <= this.#limits.maxBytes) return undefined;
    return this.#startEnd < 0 || this.#startEnd - this.#start > this.#limits.maxBytes
      ? 'target_too_long'
      : 'head_too_large';
  }

  #finish(end: number): RawHead | Rejection {
    const over = this.#checkSize(end);
    if (over !== undefined) return over;
    const head = { text: this.#text, start: this.#start, startEnd: this.#startEnd, fields: this.#fields, end };
    this.#text = '';
    this.#at = this.#start = this.#emptyLines = this.#counted = 0;
    this.#startEnd = -1;
    this.#fields = [];
    return head;
  }
}

const BY_LENGTH: ReadonlyArray<readonly KnownName[]> = byLength();

function nameOf(text: string, from: number, to: number): KnownName {
  for (const name of BY_LENGTH[to - from] ?? NONE) if (equalsIgnoringCase(text, from, name)) return name;
  return 'other';
}

const NONE: readonly KnownName[] = [];

function byLength(): KnownName[][] {
  const longest = Math.max(...NAMES.map((name) => name.length));
  return Array.from({ length: longest + 1 }, (_, length) =>
    NAMES.filter((name) => name !== 'other' && name.length === length),
  );
}
