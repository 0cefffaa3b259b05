/**
 * The path of a request target as every server reads it: without the query, escapes of unreserved characters decoded,
 * the others in upper case (RFC 3986 6.2.2). Undefined where two servers could read it in two ways: dot segments, empty
 * segments, encoded separators, `;`, `\`, escapes of escapes, what is not UTF-8. `*` and other forms are no path.
 */
export function plainPath(target: string): string | undefined {
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  if (path.charCodeAt(0) !== 47 || AMBIGUOUS.test(path)) return undefined;
  if (!path.includes('%')) return DOT_SEGMENT.test(path) ? undefined : path;
  const plain = path.replace(/%[0-9a-f]{2}/gi, unescaped);
  return AMBIGUOUS.test(plain) || DOT_SEGMENT.test(plain) || !isUtf8(plain) ? undefined : plain;
}

/** Bytes outside visible ASCII, separators that only some servers know, and escapes of either or of nothing. */
const AMBIGUOUS = /[^\x21-\x7e]|[\\;#]|\/\/|%(?![0-9a-f]{2})|%(?:[01][0-9a-f]|2[3f]|25[0-9a-f]{2}|3[bf]|5c|7f)/i;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;
const UNRESERVED = /[A-Za-z0-9._~-]/;

function unescaped(triplet: string): string {
  const character = String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
  return UNRESERVED.test(character) ? character : triplet.toUpperCase();
}

/** Overlong forms are a known way to write `/` and `.`. */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
