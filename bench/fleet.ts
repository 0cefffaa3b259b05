// A manager with many services: what starting, scanning, listing and signing take, and a storm of renewals.
// Usage: node bench/fleet.ts [SERVICES] [SIDECARS]      (10000 and 1000 unless given)
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManagerClient } from '../src/api/client.ts';
import { socketClient } from '../src/api/client-socket.ts';
import { startApi } from '../src/api/server.ts';
import { SECOND, systemClock, systemRandom } from '../src/base/clock.ts';
import { isSidelockError } from '../src/base/errors.ts';
import { createLogger } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { createManager } from '../src/manager/manager.ts';
import { createMonitoring } from '../src/manager/monitor.ts';
import { createCsr } from '../src/pki/csr.ts';
import { generateKey, privateKeyToPem } from '../src/pki/keys.ts';
import { type IdentityMaterial, readIdentity } from '../src/pki/material.ts';

const [services = 10_000, sidecars = 1_000] = process.argv.slice(2).map(Number);
if (![services, sidecars].every(Number.isInteger)) throw new Error('give two whole numbers: services, sidecars');
const directory = await mkdtemp(join(tmpdir(), 'sidelock-fleet-'));
const storagePath = join(directory, 'pki');
const [clock, random, log] = [systemClock, systemRandom, createLogger({ level: 'error' })];

async function open() {
  const metrics = createMetrics();
  let url = 'https://localhost:9443';
  await using opened = new AsyncDisposableStack();
  const manager = opened.use(
    await createManager({
      ...{ storagePath, clock, random, log, metrics, address: () => url },
      certificates: { keyType: 'ecdsa-p256' },
    }),
  );
  const monitoring = opened.use(createMonitoring(manager, { clock, log, metrics }));
  const local = { host: '127.0.0.1', port: 0 };
  const socketPath = join(storagePath, '.sidelock', 'manager.sock');
  const api = opened.use(
    await startApi({
      ...{ manager, monitoring, listen: local, health: local, socketPath, clock, log, metrics },
      // One machine stands for many here.
      limits: { perAddress: { burst: sidecars * 4, perSecond: sidecars } },
    }),
  );
  url = api.url;
  const all = opened.move();
  return { manager, monitoring, api, admin: socketClient(socketPath), [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function timed<T>(what: string, work: () => Promise<T>, more: (result: T, ms: number) => string = () => '') {
  const [started, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const ms = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  const took = [ms, (user + system) / 1000].map((value) => value.toFixed(0).padStart(8));
  process.stdout.write(`${what.padEnd(34)}${took[0]} ms ${took[1]} ms CPU  ${more(result, ms)}\n`);
  return result;
}

const rate = (count: number) => (_: unknown, ms: number) => `${((count / ms) * 1000).toFixed(0)} a second`;
const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A sidecar that has enrolled. */
async function enrol(opened: Awaited<ReturnType<typeof open>>, service: string): Promise<IdentityMaterial> {
  const { token } = await opened.manager.tokens.create({ service });
  const key = await generateKey('ecdsa-p256');
  const { pem } = await opened.manager.enroll({ token, csr: createCsr(key, service), remote: '127.0.0.1' });
  const text = { cert: pem, key: privateKeyToPem(key), ca: opened.manager.trustBundle().pem };
  return readIdentity(text, { now: clock.now() });
}

/** Renews as a sidecar does: again after a while when the manager is busy. How often it asked. */
async function renew(address: string, identity: IdentityMaterial, csr: string): Promise<number> {
  const client = createManagerClient({ address, clock, timeoutMs: 30 * SECOND, identity: () => identity });
  for (let asked = 1; ; asked++) {
    try {
      await client.renew(csr);
      return asked;
    } catch (error) {
      if (!isSidelockError(error, 'SL-API-003') || asked === 60) throw error;
      await clock.sleep(SECOND * (0.5 + random()), AbortSignal.timeout(2 * SECOND));
    }
  }
}

try {
  {
    await using opened = await open();
    const { manager } = opened;
    await timed(
      `issue ${services} certificates`,
      async () => {
        for (let i = 0; i < services; i++) {
          await manager.initializeServiceCertificate({ serviceName: `service-${i}`, serviceType: 'api_service' });
        }
      },
      rate(services),
    );
  }
  await using opened = await timed(`start with ${services}`, open);
  const { manager, monitoring, api, admin } = opened;
  await timed('rotation scan, the first', () => manager.rotationManager.checkAndRotateCertificates());
  await timed('rotation scan, nothing due', () => manager.rotationManager.checkAndRotateCertificates());
  await timed(
    'list over the socket',
    () => admin.listCertificates(),
    (list) => megabytes(JSON.stringify(list).length),
  );
  await timed('health check', () => monitoring.checkHealth());
  await timed(
    'dashboard',
    () => monitoring.getDashboardData(),
    (data) => megabytes(JSON.stringify(data).length),
  );
  await timed(
    'inventory of the page',
    () => monitoring.inventory(),
    (lines) => megabytes(JSON.stringify(lines).length),
  );
  process.stdout.write(`${'memory of the process (RSS)'.padEnd(34)}${megabytes(process.memoryUsage.rss())}\n`);

  const identities: IdentityMaterial[] = [];
  await timed(
    `enrol ${sidecars} sidecars`,
    async () => {
      for (let i = 0; i < sidecars; i++) identities.push(await enrol(opened, `sidecar-${i}`));
    },
    rate(sidecars),
  );
  const questions = await Promise.all(
    identities.map(async (identity) => ({ identity, csr: createCsr(await generateKey('ecdsa-p256'), 'sidecar') })),
  );
  await timed(
    `${sidecars} renewals at once`,
    () => Promise.all(questions.map(({ identity, csr }) => renew(api.url, identity, csr))),
    (asked, ms) => `${rate(sidecars)(asked, ms)}, asked ${Math.max(...asked)} times at most`,
  );
} finally {
  await rm(directory, { recursive: true, force: true });
}
