import type { PlaintextCaller } from '../api/wire-sidecar.ts';
import type { Clock } from '../base/clock.ts';
import { hostOf } from '../base/listen.ts';

/** Addresses that are told apart; connections from more are counted, not kept. */
export const MAX_CALLERS = 256;

/** Who still calls a permissive listener without TLS; of bounded size. */
export interface PlaintextCallers {
  /** `address`: `host:port`; the port changes with each connection and is not kept. */
  note(address: string): void;
  list(): PlaintextCaller[];
  /** Connections of callers beyond the limit, and the last of them. */
  readonly other: { readonly connections: number; readonly lastSeen: string | undefined };
}

export function createPlaintextCallers(clock: Clock): PlaintextCallers {
  const known = new Map<string, { connections: number; readonly first: number; last: number }>();
  let others = 0;
  let lastOther: number | undefined;
  return {
    note(address) {
      const host = hostOf(address);
      const now = clock.now();
      let caller = known.get(host);
      if (caller === undefined) {
        if (known.size >= MAX_CALLERS) {
          others++;
          lastOther = now;
          return;
        }
        caller = { connections: 0, first: now, last: now };
        known.set(host, caller);
      }
      caller.connections++;
      caller.last = now;
    },
    list: () =>
      [...known].map(([address, { connections, first, last }]) => ({
        address,
        connections,
        firstSeen: new Date(first).toISOString(),
        lastSeen: new Date(last).toISOString(),
      })),
    get other() {
      return { connections: others, lastSeen: lastOther === undefined ? undefined : new Date(lastOther).toISOString() };
    },
  };
}
