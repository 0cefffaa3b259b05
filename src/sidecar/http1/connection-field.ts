import type { RawHead } from './head.ts';

/** What the Connection fields of a message say (RFC 9110 7.6.1). */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  /** Lower-case names of fields that were meant for us alone. */
  readonly named: ReadonlySet<string>;
}

const NONE: ReadonlySet<string> = new Set();
const NOTHING: ConnectionOptions = { close: false, keepAlive: false, upgrade: false, named: NONE };
const KEEP_ALIVE: ConnectionOptions = { ...NOTHING, keepAlive: true };
const CLOSE: ConnectionOptions = { ...NOTHING, close: true };

export function connectionOptions({ text, fields }: RawHead): ConnectionOptions {
  let value: string | undefined;
  for (const { name, valueStart, valueEnd } of fields) {
    if (name !== 'connection') continue;
    const one = text.slice(valueStart, valueEnd);
    value = value === undefined ? one : `${value},${one}`;
  }
  if (value === undefined) return NOTHING;
  const lower = value.toLowerCase();
  if (lower === 'keep-alive') return KEEP_ALIVE;
  if (lower === 'close') return CLOSE;
  const named = new Set(lower.split(',').map((part) => part.trim()));
  return {
    close: named.delete('close'),
    keepAlive: named.delete('keep-alive'),
    upgrade: named.delete('upgrade'),
    named,
  };
}

/** Whether a next hop that believed the field would lose the end of the message, or whom it is for. */
export function namesFraming({ named }: ConnectionOptions): boolean {
  return named.has('content-length') || named.has('transfer-encoding') || named.has('host');
}
