import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createMetrics } from '../../../src/base/metrics.ts';
import type { Alert } from '../../../src/manager/alerts/alert.ts';
import { createMonitoring } from '../../../src/manager/monitor.ts';
import { createTimings } from '../../../src/manager/timings.ts';
import { type FakeClock, fakeClock, settle } from '../../support/fake-clock.ts';
import { openManager, recordingLog, temporaryDirectory } from '../../support/manager/rig.ts';
import { until } from '../../support/until.ts';

const DAY = 86_400_000;
const MINUTE = 60_000;

async function rig(t: Parameters<typeof temporaryDirectory>[0], validityMs = 90 * DAY) {
  const storage = join(await temporaryDirectory(t), 'store');
  const clock = fakeClock();
  const { log, lines } = recordingLog();
  const metrics = createMetrics();
  const manager = await openManager(storage, clock, { log, metrics, certificates: { validityMs } });
  t.teardown(() => manager[Symbol.asyncDispose]());
  const monitoring = createMonitoring(manager, { clock, log, metrics });
  t.teardown(() => monitoring[Symbol.asyncDispose]());
  const generate = async (serviceName: string) =>
    await manager.initializeServiceCertificate({ serviceName, serviceType: 'api_service' });
  return { storage, clock, lines, metrics, manager, monitoring, generate };
}

/** Lets time pass in steps, so that what waits for files is done before the next. */
async function pass(clock: FakeClock, ms: number, done: () => boolean): Promise<void> {
  await clock.advance(ms);
  await until(done);
}

t.test('the data of the guide', async (t) => {
  const { monitoring, generate, manager, clock } = await rig(t);
  t.match(await monitoring.getDashboardData(), {
    metrics: { total_certificates: 0, next_expiry: null },
    health: { summary: { health_percentage: 100 } },
  });
  for (const name of ['orders', 'web', 'db']) await generate(name);
  await monitoring.checkHealth();
  const data = await monitoring.getDashboardData();
  t.match(data, {
    ca: { name: 'AI-Teddy-CA', root_sha256: manager.ca.rootSha256 },
    metrics: { total_certificates: 3, valid_certificates: 3, expired_certificates: 0, held_by_manager: 3 },
    health: { summary: { total_services: 3, healthy_services: 3, health_percentage: 100 } },
    alerts: { by_level: { critical: 0 }, active: [] },
    performance: { certificate_load: { count: 3 }, ssl_context: { count: 3 }, validation: { count: 3 } },
  });
  t.equal(data.expiry.find(({ within_days }) => within_days === 90)?.certificates, 3);
  t.strictSame(
    data.rotations.map(({ kind }) => kind),
    ['generate', 'generate', 'generate'],
  );
  t.equal(data.metrics.next_renewal, new Date(Date.parse(data.metrics.next_expiry ?? '') - 30 * DAY).toISOString());
  const [line] = await monitoring.inventory();
  t.match(line, { service: 'db', days_left: 90, held_by: 'manager', status: 'healthy' });
  t.equal(clock.sleeping >= 1, true);
});

t.test('checks and points of the history come at their intervals, also after the clock was set', async (t) => {
  const { monitoring, clock, lines } = await rig(t);
  const checks = () => lines.filter(({ event }) => event === 'health_checked').length;
  const points = async () => (await monitoring.getDashboardData()).history.length;
  await monitoring.startMonitoring();
  await monitoring.startMonitoring();
  t.strictSame([checks(), await points()], [1, 1], 'at once, and started once');
  await pass(clock, 5 * MINUTE, () => true);
  t.strictSame([checks(), await points()], [1, 2]);
  await pass(clock, 5 * MINUTE, () => checks() === 2);
  t.strictSame([checks(), await points()], [2, 3]);
  clock.jump(-3 * DAY);
  await pass(clock, MINUTE / 2, () => checks() === 3);
  clock.jump(5 * DAY);
  await pass(clock, MINUTE / 2, () => checks() === 4);
});

t.test('a damaged file and a certificate that ends are found, told, and told to be over', async (t) => {
  const { monitoring, generate, manager, storage, clock, metrics } = await rig(t);
  const told: Alert[] = [];
  monitoring.alertManager.registerAlertHandler('info', (alert) => told.push(alert));
  const news = () => told.splice(0).map(({ rule, serviceName, state }) => `${rule} ${serviceName} ${state}`);
  await generate('orders');
  await generate('web');
  const file = join(storage, 'web', 'cert.pem');
  const whole = await readFile(file);
  await writeFile(file, 'not one');
  await monitoring.checkHealth();
  await settle();
  t.strictSame(news(), ['CertificateUnusable web firing']);
  t.match((await monitoring.getDashboardData()).health.summary, { health_percentage: 50, unhealthy_services: 1 });
  t.match(await manager.trust.status(), { phase: 'steady' }, 'and the state of trust can still be told');
  const text = await metrics.render();
  t.match(text, 'x509_read_errors 1');
  t.match(text, 'sidelock_alerts{level="error"} 1');
  t.match(text, 'sidelock_services{health="healthy"} 1');

  await writeFile(file, whole);
  // The rotation of this manager is kept from running: its clock stands still while the wall clock is set.
  clock.jump(85 * DAY);
  await monitoring.checkHealth();
  await settle();
  t.strictSame(news().toSorted(), [
    'CertificateExpiryCritical orders firing',
    'CertificateExpiryCritical web firing',
    'CertificateUnusable web resolved',
  ]);
  t.same(
    (await monitoring.inventory()).map(({ status }) => status),
    ['critical', 'critical'],
  );
  t.strictSame((await manager.rotationManager.checkAndRotateCertificates()).toSorted(), ['orders', 'web']);
  await monitoring.checkHealth();
  await settle();
  t.strictSame(news().toSorted(), [
    'CertificateExpiryCritical orders resolved',
    'CertificateExpiryCritical web resolved',
  ]);
});

t.test('percentiles of the last thousand', async (t) => {
  const timings = createTimings();
  t.strictSame(timings.summary(), { count: 0, p50_ms: 0, p95_ms: 0, p99_ms: 0 });
  for (let i = 1; i <= 1100; i++) timings.observe(i <= 100 ? 1e6 : i - 100);
  t.strictSame(timings.summary(), { count: 1100, p50_ms: 500, p95_ms: 950, p99_ms: 990 });
});

t.test('what was revoked is neither ill nor well, and fires nothing when it ends', async (t) => {
  const { monitoring, generate, manager, clock, metrics } = await rig(t, 60 * MINUTE);
  for (const name of ['orders', 'web']) await generate(name);
  await monitoring.checkHealth();
  await manager.revocations.revoke({ service: 'orders', reason: 'cessationOfOperation' });
  const status = async () => (await monitoring.inventory()).map((line) => `${line.service} ${line.status}`);
  t.strictSame(await status(), ['orders revoked', 'web healthy'], 'at once, not at the next check');
  t.match((await monitoring.getDashboardData()).metrics, { total_certificates: 1, revoked_certificates: 1 });
  await manager.store.delete('web');
  await clock.advance(56 * MINUTE);
  await monitoring.checkHealth();
  t.strictSame(
    monitoring.alertManager.active().map(({ rule, serviceName }) => `${rule} ${serviceName}`),
    ['CertificateExpiryCritical web'],
  );
  t.notMatch(await metrics.render(), /x509_cert_not_after\{service="orders"/);
  const { findings } = await manager.validate(['orders']);
  t.match(
    findings.filter(({ id }) => id === 'cert.revoked'),
    [{ severity: 'error', service: 'orders', fix: /sidelock generate --service orders/ }],
  );
});
