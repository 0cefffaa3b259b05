import { equalsIgnoringCase } from './bytes.ts';
import type { RawHead } from './head.ts';
import type { Rejection } from './reasons.ts';

/** How the end of a body is known; `close` (the connection ends) for responses only. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

export const NO_BODY: Framing = { kind: 'none' };
export const CHUNKED: Framing = { kind: 'chunked' };
export const UNTIL_CLOSE: Framing = { kind: 'close' };

export function hasBody(framing: Framing): boolean {
  return framing.kind === 'chunked' || (framing.kind === 'length' && framing.length > 0);
}

/**
 * What the framing fields of a message say, or undefined when it has none (RFC 9112 6). Stricter than the RFC: never
 * two of them, equal or not, and no coding but `chunked`.
 */
export function framingOf({ text, fields }: RawHead): Framing | Rejection | undefined {
  let framing: Framing | undefined;
  for (const { name, valueStart, valueEnd, next } of fields) {
    if (name === 'content-length') {
      const length = parseLength(text, valueStart, valueEnd);
      if (length === undefined) return 'bad_content_length';
      if (framing !== undefined) return framing === CHUNKED ? 'length_and_encoding' : 'repeated_content_length';
      framing = { kind: 'length', length };
    } else if (name === 'transfer-encoding') {
      // Blanks behind it are allowed, but some servers then do not know it.
      if (valueEnd - valueStart !== 7 || next - valueEnd !== 2 || !equalsIgnoringCase(text, valueStart, 'chunked')) {
        return codingFault(text.slice(valueStart, valueEnd));
      }
      if (framing !== undefined) return framing === CHUNKED ? 'bad_transfer_encoding' : 'length_and_encoding';
      framing = CHUNKED;
    }
  }
  return framing;
}

/** Digits only, up to 2^53 - 1: above it, sums of doubles would lie. */
function parseLength(text: string, from: number, to: number): number | undefined {
  if (from === to) return undefined;
  let length = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return undefined;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return length;
}

const CODINGS: ReadonlySet<string> = new Set(['gzip', 'x-gzip', 'deflate', 'compress', 'x-compress', 'br', 'zstd']);

/** RFC 9112 6.1: 501 for a coding that exists and is not understood. */
function codingFault(value: string): Rejection {
  const known = value.split(',').some((part) => CODINGS.has(part.trim().toLowerCase()));
  return known ? 'unknown_coding' : 'bad_transfer_encoding';
}
