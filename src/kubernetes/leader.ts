import type { Clock, Random } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { KubeApi } from './client.ts';
import {
  type Candidate,
  claim,
  holderOf,
  isFree,
  leasesOf,
  MANAGER_LEASE,
  release,
  type Sighting,
  sight,
} from './lease.ts';
import type { Json } from './names.ts';
import { type Bell, createBell } from './repeat.ts';

interface ElectionOptions {
  /** Its calls should end within a third of `durationMs`. */
  readonly api: Pick<KubeApi, 'get' | 'create' | 'replace'>;
  readonly candidate: Candidate;
  readonly clock: Clock;
  /** ms of a clock that no one sets and that goes on while the process is stopped. */
  readonly monotonic: () => number;
  readonly random: Random;
  readonly log: Logger;
  /** Rings when the Lease may have changed: a candidate looks then, and not only now and then. */
  readonly bell?: Bell;
  /** Told after each look at the Lease who leads (nobody: an empty text), or that it could not be looked at. */
  readonly onLook?: (leader: string | undefined) => void;
}

/** The time during which one candidate leads. Disposal gives the Lease back. */
export interface Term extends AsyncDisposable {
  /** False from the moment on at which another one may lead, whatever the process was doing meanwhile. */
  holds(): boolean;
  /** Aborts, with SL-HA-001 as its reason, when it is over without having been given back. */
  readonly lost: AbortSignal;
}

/**
 * Waits until this candidate leads. The figures are those of client-go in proportion: a holder renews every 1/5 of the
 * duration and gives up 2/3 after its last renewal, so that it has stopped before anybody may take over.
 */
export async function lead(options: ElectionOptions, signal: AbortSignal): Promise<Term> {
  const { api, candidate, clock, monotonic, random, log, bell = createBell(), onLook } = options;
  const { namespace, name, identity, durationMs } = candidate;
  const all = leasesOf(namespace);
  const pause = () => (durationMs / 5) * (1 + 0.2 * random());
  const deadlineMs = (durationMs * 2) / 3;
  let seen: Sighting | undefined;
  let leader: string | undefined;
  let failing = false;

  const look = async (): Promise<Json | undefined> => {
    const lease = await api.get(`${all}/${name}`);
    const holder = holderOf(lease);
    if (holder !== leader && holder !== identity) {
      log.info({ event: 'leader_seen', leader: holder }, holder === '' ? 'nobody leads' : `${holder} leads`);
    }
    leader = holder;
    onLook?.(holder);
    return lease;
  };
  const write = async (lease: Json | undefined): Promise<Json | undefined> => {
    const wanted = claim(candidate, lease, clock.now());
    return lease === undefined ? await api.create(all, wanted) : await api.replace(`${all}/${name}`, wanted);
  };
  const tellFailure = (error: unknown) => {
    if (!isSidelockError(error)) throw error;
    onLook?.(undefined);
    const fields = { event: 'lease_unreachable', code: error.code, why: error.why };
    if (!failing) log.warn(fields, `Lease ${namespace}/${name} cannot be reached: ${error.message}`);
    failing = true;
  };

  /** Undefined unless the Lease is ours now. */
  const take = async (): Promise<{ readonly lease: Json; readonly at: number } | undefined> => {
    const found = await look();
    if (found !== undefined) {
      seen = sight(found, seen, monotonic());
      if (!isFree(found, seen, identity, monotonic())) return undefined;
    }
    const at = monotonic();
    const lease = await write(found);
    return lease === undefined ? undefined : { lease, at };
  };

  for (;;) {
    signal.throwIfAborted();
    try {
      const taken = await take();
      failing = false;
      if (taken !== undefined) return hold(taken.lease, taken.at);
    } catch (error) {
      tellFailure(error);
    }
    await bell.wait(pause(), clock, signal);
  }

  function hold(first: Json, since: number): Term {
    const over = new AbortController();
    const stop = new AbortController();
    let lease = first;
    let renewedAt = since;
    const age = () => monotonic() - renewedAt;
    const lose = (why: string) => {
      if (stop.signal.aborted || over.signal.aborted) return;
      log.error({ event: 'leadership_lost', identity, why }, `this manager leads no more: ${why}`);
      over.abort(new SidelockError('SL-HA-001', 'this manager leads no more', { why }));
    };

    const renew = async () => {
      const at = monotonic();
      const renewed = await write(lease);
      if (renewed !== undefined) {
        lease = renewed;
        renewedAt = at;
        onLook?.(identity);
        return;
      }
      const found = await look();
      if (holderOf(found) !== identity) return lose(`${holderOf(found) || 'nobody'} has the Lease`);
      // Somebody changed it without taking it: renewed at the next turn, from what it is now.
      if (found !== undefined) lease = found;
    };
    const renewing = (async () => {
      while (!over.signal.aborted) {
        await clock.sleep(pause(), stop.signal);
        if (age() >= deadlineMs) break;
        try {
          await renew();
          failing = false;
        } catch (error) {
          tellFailure(error);
        }
      }
      lose('the Lease could not be renewed in time');
    })().catch((error: unknown) => {
      if (!stop.signal.aborted) lose(`renewing failed: ${error}`);
    });
    // Beside the renewals, of which one may hang.
    const watching = (async () => {
      while (age() < deadlineMs) await clock.sleep(Math.max(1, deadlineMs - age()), stop.signal);
      lose('the Lease could not be renewed in time');
    })().catch(() => {});

    log.info({ event: 'leading', identity, lease: `${namespace}/${name}` }, `this manager leads as ${identity}`);
    return {
      holds: () => !stop.signal.aborted && !over.signal.aborted && age() < deadlineMs,
      lost: over.signal,
      async [Symbol.asyncDispose]() {
        const held = !over.signal.aborted && age() < deadlineMs;
        stop.abort();
        await Promise.all([renewing, watching]);
        if (!held) return;
        try {
          await api.replace(`${all}/${name}`, release(lease, clock.now()));
          log.info({ event: 'lease_released', identity }, 'the Lease is given back');
        } catch (error) {
          if (!isSidelockError(error)) throw error;
          const fields = { event: 'lease_not_released', code: error.code, why: error.why };
          log.warn(fields, 'the Lease is not given back; it runs out');
        }
      },
    };
  }
}

/** Identity of the manager that leads in that namespace; empty when none does. @throws SL-KUBE-001, SL-KUBE-002 */
export async function leaderOf(api: Pick<KubeApi, 'get'>, namespace: string): Promise<string> {
  return holderOf(await api.get(`${leasesOf(namespace)}/${MANAGER_LEASE}`));
}
