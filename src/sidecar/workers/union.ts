import type { ListenerPolicyReport, PlaintextListenerReport, SeenCaller } from '../../api/wire-sidecar.ts';
import type { PlaintextReport } from '../serving.ts';

/** What several workers say of the same listeners, as one would. */
export function unitePolicies(all: ReadonlyArray<readonly ListenerPolicyReport[]>): ListenerPolicyReport[] {
  return united(all.flat(), ({ listener }) => listener, unitePolicy);
}

function unitePolicy(a: ListenerPolicyReport, b: ListenerPolicyReport): ListenerPolicyReport {
  return {
    ...b,
    since: later(a.since, b.since),
    callers: united([...a.callers, ...b.callers], ({ id }) => id, uniteSeen),
    other: a.other + b.other,
  };
}

function uniteSeen(a: SeenCaller, b: SeenCaller): SeenCaller {
  return {
    ...uniteTimes(a, b),
    id: a.id,
    audited: a.audited + b.audited,
    requests: united(
      [...a.requests, ...b.requests],
      ({ method, path }) => `${method} ${path}`,
      (one, more) => ({ ...one, count: one.count + more.count }),
    ),
    other: a.other + b.other,
  };
}

export function unitePlaintext(all: readonly PlaintextReport[]): PlaintextReport {
  return {
    strict: all[0]?.strict ?? [],
    permissive: united(
      all.flatMap(({ permissive }) => permissive),
      ({ listener }) => listener,
      uniteListener,
    ),
  };
}

function uniteListener(a: PlaintextListenerReport, b: PlaintextListenerReport): PlaintextListenerReport {
  const lastSeen = [a.other.lastSeen, b.other.lastSeen].filter((seen) => seen !== undefined).reduce(later, '');
  return {
    listener: a.listener,
    since: later(a.since, b.since),
    callers: united(
      [...a.callers, ...b.callers],
      ({ address }) => address,
      (one, more) => ({ address: one.address, ...uniteTimes(one, more) }),
    ),
    other: { connections: a.other.connections + b.other.connections, lastSeen: lastSeen === '' ? undefined : lastSeen },
    open: a.open + b.open,
  };
}

export function uniteCounts(all: ReadonlyArray<ReadonlyMap<string, number>>): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [key, count] of all.flatMap((counts) => [...counts])) sums.set(key, (sums.get(key) ?? 0) + count);
  return sums;
}

interface Times {
  readonly connections: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
}

function uniteTimes(a: Times, b: Times): Times {
  return {
    connections: a.connections + b.connections,
    firstSeen: earlier(a.firstSeen, b.firstSeen),
    lastSeen: later(a.lastSeen, b.lastSeen),
  };
}

function earlier(a: string, b: string): string {
  return a > b ? b : a;
}

/** Of two RFC 3339 times in UTC. A worker that was started again has forgotten, so the watch began with the last. */
function later(a: string, b: string): string {
  return a > b ? a : b;
}

function united<T>(all: readonly T[], keyOf: (one: T) => string, unite: (a: T, b: T) => T): T[] {
  const byKey = new Map<string, T>();
  for (const one of all) {
    const before = byKey.get(keyOf(one));
    byKey.set(keyOf(one), before === undefined ? one : unite(before, one));
  }
  return [...byKey.values()];
}
