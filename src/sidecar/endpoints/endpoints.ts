import type { Clock, Random } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Load } from '../load.ts';
import type { DataPlaneMetrics } from '../metrics.ts';
import type { EjectionOptions } from '../options.ts';
import { choose, isEven } from './choose.ts';
import type { Found } from './discovery.ts';
import type { Endpoint } from './endpoint.ts';
import type { FailureKind, HealthState } from './health.ts';

interface EndpointsOptions {
  readonly listener: string;
  /** Undefined: none is ever left out. */
  readonly ejection: EjectionOptions | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: DataPlaneMetrics;
  readonly create: (found: Found, failed: (kind: FailureKind) => void) => Endpoint;
}

/** One endpoint, as `/endpoints` shows it. */
export interface EndpointInfo {
  readonly address: string;
  readonly state: HealthState;
  readonly active: number;
  readonly priority: number;
  readonly weight: number;
  readonly ejectedUntil: string | undefined;
}

/** Where one upstream can be reached, and who of them is next. */
export interface Endpoints {
  readonly size: number;
  /** The one for what comes next; undefined when there is none, or none that is not in `beside`. */
  pick(beside?: ReadonlySet<Load>): Endpoint | undefined;
  /** The endpoint that is this load, if it is still one. */
  find(load: Load): Endpoint | undefined;
  /** Takes up all there are now; those that are there already stay as they are. */
  set(found: readonly Found[]): void;
  /** Time goes on; called about once a second. */
  sweep(): void;
  /** Copies counts into the metrics. */
  report(): void;
  list(): readonly EndpointInfo[];
}

const STATES: readonly HealthState[] = ['usable', 'returning', 'ejected'];
/** Names in one line of the log. */
const MAX_NAMED = 16;

export function createEndpoints(options: EndpointsOptions): Endpoints {
  const { listener, ejection, clock, random, log, metrics, create } = options;
  let all: readonly Endpoint[] = [];
  /** Of those that are not ejected, the ones that come first. */
  let usable: readonly Endpoint[] = [];
  let even = true;

  const arrange = () => {
    usable = first(all);
    even = isEven(usable);
  };

  const failed = (endpoint: Endpoint, kind: FailureKind) => {
    const { health } = endpoint;
    if (ejection === undefined || endpoint.retired || !health.failed(kind, ejection.failures)) return;
    const out = all.filter((one) => one.health.state === 'ejected').length;
    // Who is alone is never left out: a chance is better than none.
    if (all.length === 1 || out + 1 > Math.max(1, Math.floor(ejection.share * all.length))) return;
    const ms = health.eject(clock.now(), ejection);
    arrange();
    metrics.ejections.with({ listener, reason: kind }).value++;
    log.warn(
      {
        event: 'endpoint_ejected',
        code: kind === 'wrong_identity' ? 'SL-TLS-006' : 'SL-UP-002',
        reason: kind,
        listener,
        endpoint: endpoint.name,
        seconds: ms / 1_000,
        left: all.length - out - 1,
        fix: 'look at the log of that endpoint, and here at the lines before this one',
      },
      `outbound "${listener}": ${endpoint.name} is left out for ${ms / 1_000} s: ${SENTENCES[kind]}`,
    );
  };

  return {
    get size() {
      return all.length;
    },
    pick(beside) {
      if (beside === undefined || beside.size === 0) {
        return usable.length === 1 ? usable[0] : choose(usable, random, even);
      }
      const others = all.filter((one) => !beside.has(one));
      const candidates = first(others);
      return choose(candidates, random, isEven(candidates));
    },
    find: (load) => all.find((one) => one === load),
    set(found) {
      const known = new Map(all.map((one) => [keyOf(one.found), one]));
      const next = found.map((one) => {
        const same = known.get(keyOf(one));
        if (same !== undefined) {
          same.found = one;
          return same;
        }
        const endpoint: Endpoint = create(one, (kind) => failed(endpoint, kind));
        return endpoint;
      });
      const added = next.filter((one) => !all.includes(one));
      const removed = all.filter((one) => !next.includes(one));
      all = next;
      arrange();
      if (added.length === 0 && removed.length === 0) return;
      for (const one of removed) one.retire();
      log.info(
        { event: 'endpoints_changed', listener, endpoints: all.length, added: names(added), removed: names(removed) },
        `outbound "${listener}" has ${all.length} endpoints: ${added.length} are new, ${removed.length} are gone`,
      );
    },
    sweep() {
      if (ejection === undefined) return;
      const now = clock.now();
      let changed = false;
      for (const { health, name } of all) {
        const before = health.state;
        if (!health.tick(now, ejection)) continue;
        changed = true;
        if (health.state === before) continue;
        log.info(
          { event: 'endpoint_returns', listener, endpoint: name, state: health.state },
          `outbound "${listener}": ${name} ${health.state === 'returning' ? 'gets a part of its share again' : 'gets its whole share again'}`,
        );
      }
      if (changed) arrange();
    },
    report() {
      for (const state of STATES) {
        metrics.endpoints.with({ listener, state }).value = all.filter(({ health }) => health.state === state).length;
      }
    },
    list: () =>
      all.map(({ name, health, active, found }) => ({
        address: name,
        state: health.state,
        active,
        priority: found.priority,
        weight: found.weight,
        ejectedUntil: health.ejectedUntil === undefined ? undefined : new Date(health.ejectedUntil).toISOString(),
      })),
  };
}

/** Those of the best priority that has any; when all are ejected, all: what is ejected may have been wrongly. */
function first(all: readonly Endpoint[]): readonly Endpoint[] {
  const healthy = all.filter(({ health }) => health.state !== 'ejected');
  const candidates = healthy.length > 0 ? healthy : all;
  const best = Math.min(...candidates.map(({ found }) => found.priority));
  return candidates.filter(({ found }) => found.priority === best);
}

const SENTENCES: Readonly<Record<FailureKind, string>> = {
  connect: 'connections to it fail',
  handshake: 'handshakes with it fail',
  wrong_identity: 'it is not who is expected there',
  refused: 'it hangs up after the handshake',
  gateway: 'it answers 502, 503 or 504, or not at all',
};

/** What makes two of them the same. */
function keyOf({ host, port, servername }: Found): string {
  return [host, port, servername].join(' ');
}

function names(some: readonly Endpoint[]): string[] {
  return some.slice(0, MAX_NAMED).map(({ name }) => name);
}
