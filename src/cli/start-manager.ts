import { join, relative } from 'node:path';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { Manager } from '../manager/manager.ts';
import { STATE_DIR } from '../store/layout.ts';
import { alertReceivers } from './alert-receivers.ts';
import { inCluster } from './manager-in-cluster.ts';
import { managerOptions } from './manager-options.ts';
import type { Output } from './output.ts';
import { readPage } from './page-files.ts';
import { packageVersion } from './version.ts';

interface RunningManager extends AsyncDisposable {
  readonly manager: Manager;
  /** Whether the dashboard has its page beside its data. */
  readonly hasPage: boolean;
  readonly api: Awaited<ReturnType<typeof import('../api/server.ts').startApi>>;
}

interface Surroundings {
  readonly output: Output;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Answers only to the commands of this machine; tokens still carry the address of the config. */
  readonly unseen?: boolean;
  /** Of one that leads others: see the API's option. */
  readonly settled?: (() => Promise<void>) | undefined;
  /** Frees the ports, when everything but them is ready. */
  readonly beforeServing?: (() => Promise<void>) | undefined;
}

/** Opens the storage and serves the API and the socket, or leaves nothing open. */
export async function startManager(config: ManagerConfig, surroundings: Surroundings): Promise<RunningManager> {
  const { output, log, metrics, unseen = false } = surroundings;
  const [{ createManager }, { createMonitoring }, { startApi }] = await Promise.all([
    import('../manager/manager.ts'),
    import('../manager/monitor.ts'),
    import('../api/server.ts'),
  ]);
  let { port } = config.listen;
  const { during, tell } = output.progress;
  // One that lives for a single command answers no pod.
  const cluster = unseen ? undefined : await inCluster(config, { log, metrics });
  const settings = managerOptions(config, {
    log,
    metrics,
    version: packageVersion(),
    onProgress: tell,
    port: () => port,
  });
  const options = cluster === undefined ? settings : { ...settings, pods: cluster.pods };
  await using started = new AsyncDisposableStack();
  const manager = started.use(await during('opening the storage', () => createManager(options)));
  // One that lives for a single command has nobody to wake.
  const receivers = unseen ? [] : await alertReceivers(config.monitoring, { log });
  const monitoring = started.use(
    createMonitoring(manager, {
      healthCheckIntervalMs: config.monitoring.healthCheckInterval,
      metricsCollectionIntervalMs: config.monitoring.metricsCollectionInterval,
      receivers,
      clock: systemClock,
      log,
      metrics,
    }),
  );
  const page = unseen ? undefined : await readPage();
  await surroundings.beforeServing?.();
  const local = { host: '127.0.0.1', port: 0 };
  const api = started.use(
    await startApi({
      manager,
      monitoring,
      page,
      listen: unseen ? local : config.listen,
      health: unseen ? local : config.health,
      est: config.devices.est === 'on',
      socketPath: socketPathOf(config.storage.path),
      clock: systemClock,
      log,
      metrics,
      settled: surroundings.settled,
    }),
  );
  if (!unseen) port = api.address.port;
  if (cluster !== undefined) started.use(cluster.keep(manager, surroundings.settled));
  if (!unseen) void monitoring.startMonitoring();
  const running = started.move();
  return { manager, api, hasPage: page !== undefined, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Where the manager of a storage answers to commands: the shorter way to it, since a socket's path is limited. */
export function socketPathOf(storage: string): string {
  const path = join(storage, STATE_DIR, 'manager.sock');
  const fromHere = relative('', path);
  return fromHere.length < path.length ? fromHere : path;
}
