import { SECOND } from '../../src/base/clock.ts';
import { createTimer, emptyStorage, inParallel, megabytes, openFleet, rate } from './manager.ts';

/** A storage with so many certificates of services: what a manager on it takes. How many targets were missed. */
export async function fleetStore(count: number): Promise<number> {
  const { timed, line, missed } = createTimer();
  await using storage = await emptyStorage();
  {
    await using fleet = await openFleet(storage.storagePath);
    const one = (i: number) =>
      fleet.manager.initializeServiceCertificate({ serviceName: `service-${i}`, serviceType: 'api_service' });
    await timed(`issue ${count} certificates`, () => inParallel(count, 16, one), { more: rate(count) });
  }
  await using fleet = await timed(`start with ${count}`, () => openFleet(storage.storagePath), { limitMs: 3 * SECOND });
  const { manager, monitoring, admin } = fleet;
  const scan = () => manager.rotationManager.checkAndRotateCertificates();
  await timed('rotation scan, the first', scan);
  await timed('rotation scan', scan, { limitMs: SECOND });
  const size = (value: object) => megabytes(JSON.stringify(value).length);
  await timed('list over the socket', () => admin.listCertificates(), { limitMs: SECOND, more: size });
  await timed('health check', () => monitoring.checkHealth());
  await timed('dashboard', () => monitoring.getDashboardData(), { limitMs: SECOND, more: size });
  await timed('inventory of the page', () => monitoring.inventory(), { limitMs: SECOND, more: size });
  await timed('metrics', () => fleet.metrics.render(), { more: (text) => megabytes(text.length) });
  line('memory of the process (RSS)', megabytes(process.memoryUsage.rss()));
  return missed();
}
