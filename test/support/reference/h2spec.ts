import { table } from './table.ts';

const IGNORED = 'nghttp2 ignores frames on a stream that is closed, as RFC 9113 5.1 has it; none reaches the app';
const PRIORITY = 'priorities are no part of RFC 9113 any more: nghttp2 reads none of them';
const STRICTER = 'the whole connection is closed, which is more than is asked for';

/** What fails of h2spec, and why it may. A plain server of node:http2 fails the same ones, and one more. */
export const H2SPEC_FAILS: Readonly<Record<string, string>> = {
  'http2/5.1/8': IGNORED,
  'http2/5.1/9': IGNORED,
  'http2/5.1/11': IGNORED,
  'http2/5.1/12': IGNORED,
  'http2/5.1.1/2': IGNORED,
  'http2/5.3.1/2': PRIORITY,
  'http2/6.3/1': PRIORITY,
  'http2/6.7/2': STRICTER,
  'http2/6.9.1/3': STRICTER,
};

export function h2specTable(): string {
  return table(
    ['case', 'why it may fail'],
    Object.entries(H2SPEC_FAILS).map(([id, why]) => [`\`${id}\``, why]),
  );
}
