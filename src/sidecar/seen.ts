import type { SeenCaller } from '../api/wire-sidecar.ts';
import type { Clock } from '../base/clock.ts';
import { plainPath } from '../base/request-path.ts';

/** Callers that are told apart, and pairs of method and path of each. More are counted, not kept. */
const MAX_CALLERS = 256;
const MAX_REQUESTS = 64;
const MAX_SEGMENT = 128;

/** What callers did while it was recorded; of bounded size, whoever calls. */
export interface Seen {
  connection(id: string, audited: boolean): void;
  request(id: string, method: string, target: string, audited: boolean): void;
  callers(): SeenCaller[];
  /** Connections and requests of callers beyond the limit. */
  readonly other: number;
}

interface Caller {
  connections: number;
  audited: number;
  other: number;
  readonly requests: Map<string, number>;
  readonly first: number;
  last: number;
}

export function createSeen(clock: Clock): Seen {
  const known = new Map<string, Caller>();
  let other = 0;
  const note = (id: string, audited: boolean): Caller | undefined => {
    let caller = known.get(id);
    if (caller === undefined) {
      if (known.size >= MAX_CALLERS) {
        other++;
        return undefined;
      }
      caller = { connections: 0, audited: 0, other: 0, requests: new Map(), first: clock.now(), last: 0 };
      known.set(id, caller);
    }
    caller.last = clock.now();
    if (audited) caller.audited++;
    return caller;
  };
  return {
    connection(id, audited) {
      const caller = note(id, audited);
      if (caller !== undefined) caller.connections++;
    },
    request(id, method, target, audited) {
      const caller = note(id, audited);
      if (caller === undefined) return;
      const path = ruleFor(target);
      const key = path === undefined || !METHOD.test(method) ? undefined : `${method} ${path}`;
      const count = key === undefined ? undefined : caller.requests.get(key);
      if (key === undefined || (count === undefined && caller.requests.size >= MAX_REQUESTS)) caller.other++;
      else caller.requests.set(key, (count ?? 0) + 1);
    },
    callers: () =>
      [...known].map(([id, { connections, audited, other: odd, requests, first, last }]) => ({
        id,
        connections,
        audited,
        requests: [...requests].map(([key, count]) => {
          const [method = '', path = ''] = key.split(' ');
          return { method, path, count };
        }),
        other: odd,
        firstSeen: new Date(first).toISOString(),
        lastSeen: new Date(last).toISOString(),
      })),
    get other() {
      return other;
    },
  };
}

/** What the config takes as a method. */
const METHOD = /^[A-Z][A-Z0-9-]{0,31}$/;

function ruleFor(target: string): string | undefined {
  const path = plainPath(target);
  if (path === undefined) return undefined;
  const end = path.indexOf('/', 1);
  const segment = end < 0 ? path : path.slice(0, end);
  if (segment.length > MAX_SEGMENT || segment.includes('*')) return undefined;
  return end < 0 ? segment : `${segment}/*`;
}
