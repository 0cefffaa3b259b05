import type { Clock } from '../base/clock.ts';
import { SECOND } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';

const WINDOW = 10 * SECOND;
const MAX_KEYS = 1_000;

interface Entry {
  readonly fields: Record<string, unknown>;
  readonly message: string;
  readonly since: number;
  repeated: number;
}

/** Log of refusals that a flood cannot fill a disk with: one line a key in ten seconds, then one with the count. */
export interface Refusals {
  /** `key` is what makes two refusals the same, as reason and peer. */
  warn(key: string, fields: Record<string, unknown>, message: string): void;
  /** Writes the counts whose window has passed; called about once a second. */
  sweep(): void;
}

export function createRefusals(log: Logger, clock: Clock): Refusals {
  const seen = new Map<string, Entry>();
  const close = (key: string, entry: Entry) => {
    seen.delete(key);
    if (entry.repeated > 0) log.warn({ ...entry.fields, repeated: entry.repeated }, entry.message);
  };
  return {
    warn(key, fields, message) {
      const known = seen.get(key);
      if (known !== undefined) {
        known.repeated++;
        return;
      }
      const oldest = seen.entries().next().value;
      if (seen.size >= MAX_KEYS && oldest !== undefined) close(...oldest);
      seen.set(key, { fields, message, since: clock.now(), repeated: 0 });
      log.warn(fields, message);
    },
    sweep() {
      const now = clock.now();
      for (const [key, entry] of seen) if (now - entry.since >= WINDOW) close(key, entry);
    },
  };
}
