import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { Readiness } from '../base/lifecycle.ts';
import { formatAddress } from '../base/listen.ts';
import type { Logger } from '../base/log.ts';
import { type Cell, createMetrics, type Metrics } from '../base/metrics.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { KubeApi } from '../kubernetes/client.ts';
import { leasesOf, MANAGER_LEASE } from '../kubernetes/lease.ts';
import { DIRECTORY_MODE, STATE_DIR } from '../store/layout.ts';

/** One of several managers, from the moment on at which it leads. */
interface Replica extends AsyncDisposable {
  /** Rejects with SL-HA-001 once it leads no more. */
  settled(): Promise<void>;
  /** The ports of the config are free from then on. */
  beforeServing(): Promise<void>;
  /** Lets the Service lead here. */
  serve(apiPort: number): void;
  /** Aborts when it leads no more; its reason says why. */
  readonly lost: AbortSignal;
}

interface Surroundings {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/**
 * Waits, ready and without any key, until this manager leads; then the storage holds what the one before it left. Undefined
 * where the state is in a directory.
 * @throws the reason of the signal, SL-KUBE-001, SL-KUBE-002, SL-STORE-002, SL-STORE-003
 */
export async function becomeLeader(config: ManagerConfig, surroundings: Surroundings): Promise<Replica | undefined> {
  const { namespace, state, lease: durationMs, podAddress: address } = config.kubernetes;
  if (state === 'directory' || namespace === undefined) return undefined;
  const { log, metrics, signal } = surroundings;
  const [
    { connectKubernetes },
    { createBell },
    { watchObject },
    { createWatchMetrics },
    { lead },
    { secretJournal },
    { keepEndpoint },
    { leaderRights, tellMissingRights },
    { openMirror, clearMirror },
    lock,
  ] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/repeat.ts'),
    import('../kubernetes/watch.ts'),
    import('../kubernetes/watch-metrics.ts'),
    import('../kubernetes/leader.ts'),
    import('../kubernetes/state-journal.ts'),
    import('../kubernetes/leader-endpoint.ts'),
    import('../kubernetes/rights.ts'),
    import('../store/mirror.ts'),
    import('../store/lock.ts'),
  ]);
  // A pod is called as its host is; the rest tells apart what ran in it one after the other.
  const identity = `${hostname()}_${randomUUID()}`;
  const clock = systemClock;
  const directory = config.storage.path;
  const leading = leaderGauge(metrics);

  await using opened = new AsyncDisposableStack();
  const standby = opened.use(await startStandby(config, log));
  const api = await connectKubernetes();
  await tellMissingRights(api, leaderRights(namespace, address !== undefined), {
    log,
    effect: 'this manager cannot lead',
  });
  await mkdir(join(directory, STATE_DIR), { recursive: true, mode: DIRECTORY_MODE });
  const locked = opened.use(await lock.lockDirectory(join(directory, STATE_DIR), { clock }));
  await clearMirror(directory);
  const bell = createBell();
  const waited = new AbortController();
  const watching = watchObject(
    { resource: 'leases', path: leasesOf(namespace), name: MANAGER_LEASE },
    {
      ...{ api, clock, random: systemRandom, log, onChange: bell.ring },
      metrics: createWatchMetrics(standby.metrics),
      signal: AbortSignal.any([signal, waited.signal]),
    },
  );
  const term = opened.use(
    await lead(
      {
        api: await connectKubernetes({ timeoutMs: Math.floor(durationMs / 3) }),
        candidate: { namespace, name: MANAGER_LEASE, identity, durationMs },
        ...{ clock, monotonic: () => performance.now(), random: systemRandom, log, bell },
        onLook: standby.follow,
      },
      signal,
    ).finally(() => {
      waited.abort();
      return watching.ended;
    }),
  );
  leading.value = 1;
  const failed = new AbortController();
  const lost = AbortSignal.any([term.lost, failed.signal]);
  lost.addEventListener('abort', () => {
    leading.value = 0;
  });
  const holds = () => term.holds() && !lost.aborted;
  await locked[Symbol.asyncDispose]();
  const mirror = opened.use(
    await openMirror({
      directory,
      journal: secretJournal({ api, namespace, identity, holds, clock, log, signal: lost }),
      log,
      mayBegin: () => refuseSecondBeginning(api, namespace),
      onFailure: (error) => failed.abort(error),
    }),
  );
  const running = opened.move();
  return {
    lost,
    async settled() {
      lost.throwIfAborted();
      await mirror.settled();
      if (!holds()) throw new SidelockError('SL-HA-001', 'this manager leads no more');
    },
    beforeServing: standby.end,
    serve(port) {
      if (address === undefined) return;
      const stop = new AbortController();
      const keeping = keepEndpoint({ ...{ api, namespace, address, port, holds, clock, log }, signal: stop.signal });
      running.defer(async () => {
        stop.abort();
        await keeping;
      });
    },
    async [Symbol.asyncDispose]() {
      leading.value = 0;
      await running.disposeAsync();
    },
  };
}

function leaderGauge(metrics: Metrics): Cell {
  return metrics.gauge('sidelock_leader', '1 while this manager leads, else 0.').with({});
}

/** What kubelet and Prometheus ask of one that does not lead. It is ready when it could take over. */
async function startStandby(config: ManagerConfig, log: Logger) {
  const { startHealth } = await import('../sidecar/admin.ts');
  const readiness = new Readiness();
  const metrics = createMetrics({ processMetrics: true });
  leaderGauge(metrics);
  const unknown = 'the Lease cannot be read';
  readiness.block('lease', unknown);
  const server = await startHealth({ listen: config.health, readiness, metrics });
  log.info({ event: 'standing_by', health: formatAddress(server.address) }, 'this manager waits for its turn to lead');
  let ended: Promise<void> | undefined;
  const end = async () => {
    ended ??= Promise.resolve(server[Symbol.asyncDispose]());
    await ended;
  };
  return {
    metrics,
    follow(leader: string | undefined) {
      if (leader === undefined) readiness.block('lease', unknown);
      else readiness.unblock('lease');
    },
    end,
    [Symbol.asyncDispose]: end,
  };
}

/** A new CA where sidecars know another one would shut them all out. */
async function refuseSecondBeginning(api: KubeApi, namespace: string): Promise<void> {
  const { publishedRoots } = await import('../kubernetes/trust-config-map.ts');
  if ((await publishedRoots(api, namespace)).length === 0) return;
  throw new SidelockError('SL-STORE-003', `there is no state in the Secrets of namespace ${namespace}`, {
    why: 'ConfigMap sidelock-trust says that there was a CA here; sidecars that know its root would trust no new one',
    fix: `Let one manager with the old storage take its state into the Secrets, restore them, or begin anew after: kubectl -n ${namespace} delete configmap sidelock-trust`,
  });
}
