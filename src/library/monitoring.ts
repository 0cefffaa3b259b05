import { systemClock } from '../base/clock.ts';
import { createLogger } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { createMonitoring, type Monitoring, type MonitorOptions } from '../manager/monitor.ts';
import { getMtlsManager, type MtlsManager, type MtlsManagerOptions } from './manager.ts';

export interface MonitoringOptions
  extends MtlsManagerOptions,
    Pick<MonitorOptions, 'healthCheckIntervalMs' | 'metricsCollectionIntervalMs'> {}

const watched = new WeakMap<MtlsManager, Monitoring>();

/**
 * The monitoring of the manager of a storage directory, which is opened as `getMtlsManager` does. Every call for one
 * manager gives the same monitoring, with the options of the first; dispose of it before the manager.
 * @throws what getMtlsManager throws.
 */
export async function getCertificateMonitoringDashboard(options: MonitoringOptions = {}): Promise<Monitoring> {
  const manager = await getMtlsManager(options);
  const known = watched.get(manager);
  if (known !== undefined) return known;
  const { healthCheckIntervalMs, metricsCollectionIntervalMs } = options;
  const { logLevel = 'silent', log = createLogger({ level: logLevel }), metrics = createMetrics() } = options;
  const monitoring = createMonitoring(manager, {
    ...(healthCheckIntervalMs === undefined ? {} : { healthCheckIntervalMs }),
    ...(metricsCollectionIntervalMs === undefined ? {} : { metricsCollectionIntervalMs }),
    ...{ clock: systemClock, log, metrics },
  });
  watched.set(manager, monitoring);
  return monitoring;
}
