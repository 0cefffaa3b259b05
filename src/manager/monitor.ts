import { type Clock, MINUTE, SECOND } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { type AlertManager, createAlertCenter, type Receiver } from './alerts/alert-manager.ts';
import {
  type CertificateLine,
  certificateLine,
  type DashboardData,
  dashboardData,
  type HistoryPoint,
  healthSummary,
  type Performance,
} from './dashboard-data.ts';
import { checkHealth, type Health, type WatchedManager } from './health.ts';
import { createMonitorMetrics } from './monitor-metrics.ts';
import { createTimings } from './timings.ts';
import type { TrustStatus } from './trust.ts';

export interface MonitorOptions {
  /** Milliseconds; 10 minutes unless given. */
  readonly healthCheckIntervalMs?: number;
  /** Milliseconds; 5 minutes unless given. */
  readonly metricsCollectionIntervalMs?: number;
  /** Ways out for alerts, besides the handlers that are registered later. */
  readonly receivers?: readonly Receiver[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Watches the certificates of one manager. Nothing is checked by itself before `startMonitoring`. */
export interface Monitoring extends AsyncDisposable {
  readonly alertManager: AlertManager;
  /** Checks and collects at once, and then at their intervals until disposal. Resolves after the first of both. */
  startMonitoring(): Promise<void>;
  /** Checks now, and tells what is new. */
  checkHealth(): Promise<void>;
  /** As of now, with the health of the last check; where none is recent enough, it is made first. */
  getDashboardData(): Promise<DashboardData>;
  /** Every certificate with its status, by name. */
  inventory(): Promise<CertificateLine[]>;
}

const HISTORY = 288;
const ROTATIONS = 100;

export function createMonitoring(manager: WatchedManager, options: MonitorOptions): Monitoring {
  const { clock, log, healthCheckIntervalMs = 10 * MINUTE, metricsCollectionIntervalMs = 5 * MINUTE } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const metrics = createMonitorMetrics(options.metrics);
  const center = createAlertCenter({ clock, log, signal, onDelivery: (result) => metrics.delivered(result) });
  for (const receiver of options.receivers ?? []) center.register(receiver);

  const load = createTimings();
  const validation = createTimings();
  const context = createTimings();
  const whole = createTimings();
  const performanceNow = (): Performance => ({
    ...{ certificate_load: load.summary(), ssl_context: context.summary() },
    ...{ validation: validation.summary(), health_check: whole.summary() },
  });
  const history: HistoryPoint[] = [];
  let last: Health | undefined;
  let running: Promise<Health> | undefined;

  const look = async (): Promise<Health> => {
    const started = performance.now();
    const health = await checkHealth(manager, clock.now(), { load, validation, context }, signal);
    whole.observe(performance.now() - started);
    last = health;
    metrics.checked(health);
    return health;
  };
  /** Callers meanwhile share the check under way. */
  const check = (): Promise<Health> => {
    running ??= look().finally(() => {
      running = undefined;
    });
    return running;
  };
  const collect = async () => {
    const health = last ?? (await check());
    const { total_services, health_percentage } = healthSummary(health);
    history.push({
      ...{ at: new Date(clock.now()).toISOString(), total_certificates: total_services, health_percentage },
      load_p95_ms: load.summary().p95_ms,
      context_p95_ms: context.summary().p95_ms,
      validation_p95_ms: validation.summary().p95_ms,
    });
    if (history.length > HISTORY) history.shift();
  };
  /** The findings of the last check about what there is now: what was issued since is not known to be ill. */
  const current = async (): Promise<Health> => {
    if (last === undefined || clock.now() - last.checkedAt >= healthCheckIntervalMs) await checkAndTell();
    const health = last ?? (await check());
    const known = new Map(health.services.map((service) => [service.entry.serial, service]));
    const services = [...manager.listAllCertificates().values()].map((entry) => {
      const revoked = manager.revocations.get(entry.serial) !== undefined;
      const fresh = { held: entry.by === 'generate', renewAt: manager.renewAt(entry), status: 'healthy' as const };
      return { ...fresh, ...known.get(entry.serial), entry, ...(revoked ? { status: 'revoked' as const } : {}) };
    });
    return { ...health, services };
  };
  const checkAndTell = async () => {
    const { findings } = await check();
    center.report(findings);
    const [active, level] = [center.active(), center.active()[0]?.level];
    metrics.alerts(active);
    log.info(
      { event: 'health_checked', alerts: active.length, worst: level },
      `health checked, ${active.length} alerts`,
    );
  };

  let trust: { readonly generation: number; readonly at: number; readonly status: TrustStatus } | undefined;
  /** Who has what is asked often while a root follows another, and seldom else: it looks at every certificate. */
  const trustNow = async (): Promise<TrustStatus> => {
    const [generation, now] = [manager.trust.generation(), clock.now()];
    const fresh = manager.trust.phase() === 'steady' ? MINUTE : 5 * SECOND;
    if (trust?.generation !== generation || Math.abs(now - trust.at) >= fresh)
      trust = { generation, at: now, status: await manager.trust.status() };
    return trust.status;
  };

  let started: Promise<void> | undefined;
  return {
    alertManager: center,
    async startMonitoring() {
      started ??= (async () => {
        await attempt(checkAndTell, log);
        await attempt(collect, log);
        void every(healthCheckIntervalMs, checkAndTell, { clock, log, signal });
        void every(metricsCollectionIntervalMs, collect, { clock, log, signal });
      })();
      await started;
    },
    checkHealth: checkAndTell,
    async getDashboardData() {
      const sources = {
        ...{ version: manager.version, ca: manager.ca, health: await current(), history: [...history] },
        issued: manager.recentlyIssued(ROTATIONS),
        alerts: { active: center.active(), recent: center.recent() },
        ...{ trust: await trustNow(), crl: manager.revocations.crl(), edges: manager.edges.list() },
        performance: performanceNow(),
      };
      return dashboardData(sources, clock.now());
    },
    async inventory() {
      const by = { now: clock.now(), bundle: manager.trust.bundle().sha256 };
      const served = manager.served();
      return (await current()).services.map((service) =>
        certificateLine(service, { ...by, served: served.get(service.entry.spiffeId) }),
      );
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running?.catch(() => {});
    },
  };
}

interface Schedule {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const TICK_MS = 30 * SECOND;

/** By the wall clock, in short waits: a machine that slept, or whose clock was set, checks soon after. Never rejects. */
async function every(ms: number, work: () => Promise<void>, { clock, log, signal }: Schedule): Promise<void> {
  let last = clock.now();
  while (!signal.aborted) {
    try {
      const passed = clock.now() - last;
      if (passed >= 0 && passed < ms) {
        await clock.sleep(Math.min(ms - passed, TICK_MS), signal);
        continue;
      }
    } catch (error) {
      if (isAbort(error)) return;
      throw error;
    }
    last = clock.now();
    await attempt(work, log);
  }
}

/** A check that fails is no reason to stop checking. */
async function attempt(work: () => Promise<void>, log: Logger): Promise<void> {
  try {
    await work();
  } catch (err) {
    if (!isAbort(err)) log.error({ event: 'health_check_failed', err }, 'the check of the certificates failed');
  }
}
