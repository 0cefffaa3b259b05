/** Classes of a byte in a head, as bits; RFC 9110 5.6.2 and 5.5, RFC 9112 3.2. */
export const TOKEN = 1;
/** HTAB, SP, visible ASCII and obs-text. */
export const VALUE = 2;
/** Visible ASCII without `#`: what a request target may consist of. */
export const TARGET = 4;
/** What a host may consist of: reg-name (without the comma of lists), IP literal, port. */
export const HOST = 8;
/** Between fields in a value. */
export const BLANK = 16;

export const CLASS: Uint8Array = classes();

export const CR = 13;
export const LF = 10;

/** Whether `text` is not empty and every byte of it is of the class. */
export function consistsOf(text: string, kind: number): boolean {
  return text !== '' && allOf(text, 0, text.length, kind);
}

/** Whether every byte in [from, to) is of the class. */
export function allOf(text: string, from: number, to: number, kind: number): boolean {
  for (let i = from; i < to; i++) if (((CLASS[text.charCodeAt(i)] ?? 0) & kind) === 0) return false;
  return true;
}

/** ASCII case does not count; `lower` is in lower case. */
export function equalsIgnoringCase(text: string, from: number, lower: string): boolean {
  for (let i = 0; i < lower.length; i++) {
    const code = text.charCodeAt(from + i);
    const want = lower.charCodeAt(i);
    if (code !== want && (code < 65 || code > 90 || code + 32 !== want)) return false;
  }
  return true;
}

function classes(): Uint8Array {
  const table = new Uint8Array(256);
  const mark = (bytes: string, kind: number) => {
    for (const char of bytes) table[char.charCodeAt(0)] = (table[char.charCodeAt(0)] ?? 0) | kind;
  };
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  mark(`${letters}0123456789!#$%&'*+-.^_\`|~`, TOKEN);
  mark(`${letters}0123456789-._~%!$&'()*+;=:[]`, HOST);
  mark(' \t', BLANK);
  for (let code = 0; code < 256; code++) {
    if (code === 9 || (code >= 32 && code !== 127)) table[code] = (table[code] ?? 0) | VALUE;
    if (code > 32 && code < 127 && code !== 35) table[code] = (table[code] ?? 0) | TARGET;
  }
  return table;
}
