import { type ClientHttp2Stream, constants, type ServerHttp2Stream } from 'node:http2';
import type { RawFields } from './head.ts';

/**
 * For every message with a body. Without it, `close(code)` of a stream in mid-body makes Node send END_STREAM before the
 * reset, or in its place: what was cut off would look whole. (Seen in 26.10 and tested for.)
 */
export const RESET_NOT_END = { waitForTrailers: true } as const;

/** Ends a message, on 'wantTrailers'; no fields, no trailers. */
export function sendTrailers(stream: ClientHttp2Stream | ServerHttp2Stream, raw: RawFields): void {
  if (stream.destroyed || stream.closed) return;
  try {
    stream.sendTrailers(toObject(raw));
  } catch {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/** Several fields of a name become a list of values. */
export function toObject(raw: RawFields): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const before = out[name];
    out[name] = before === undefined ? value : [before, value].flat();
  }
  return out;
}
