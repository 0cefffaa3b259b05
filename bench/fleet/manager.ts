import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { socketClient } from '../../src/api/client-socket.ts';
import { startApi } from '../../src/api/server.ts';
import { DAY, systemClock, systemRandom } from '../../src/base/clock.ts';
import { createLogger } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { importFirst } from '../../src/manager/ca-import.ts';
import { createManager } from '../../src/manager/manager.ts';
import { createMonitoring } from '../../src/manager/monitor.ts';
import { createRoot } from '../../src/pki/issue.ts';
import { generateKey, privateKeyToPem } from '../../src/pki/keys.ts';
import { pemEncode } from '../../src/pki/pem.ts';

const clock = systemClock;
const log = createLogger({ level: 'error' });

/** A storage in a directory of its own, whose CA has an EC P-256 key: it is imported, as somebody's would be. */
export async function emptyStorage() {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-fleet-'));
  const storagePath = join(directory, 'pki');
  const key = await generateKey('ecdsa-p256');
  const root = await createRoot({ name: 'Fleet', key, now: clock.now(), validityYears: 10 });
  await importFirst(
    { certificate: pemEncode('CERTIFICATE', root.der), key: privateKeyToPem(key) },
    {
      leafMs: 90 * DAY,
      authority: {
        ...{ stateDirectory: join(storagePath, '.sidelock'), name: 'Fleet', keySize: 2048, validityYears: 10 },
        ...{ passphrase: undefined, issuer: false, trustDomain: 'ai-teddy.local', dnsDomains: [], clock, log },
        onProgress: () => {},
      },
    },
    { dryRun: false },
  );
  return { storagePath, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** The manager of that storage with its API; `perSecond` requests are taken from one address, which stands for many here. */
export async function openFleet(storagePath: string, perSecond = 1_000) {
  const metrics = createMetrics();
  let url = 'https://localhost:9443';
  await using opened = new AsyncDisposableStack();
  const manager = opened.use(
    await createManager({
      ...{ storagePath, clock, random: systemRandom, log, metrics, address: () => url },
      certificates: { keyType: 'ecdsa-p256' },
    }),
  );
  const monitoring = opened.use(createMonitoring(manager, { clock, log, metrics }));
  const local = { host: '127.0.0.1', port: 0 };
  const socketPath = join(storagePath, '.sidelock', 'manager.sock');
  const api = opened.use(
    await startApi({
      ...{ manager, monitoring, listen: local, health: local, socketPath, clock, log, metrics },
      limits: { perAddress: { burst: perSecond * 4, perSecond } },
    }),
  );
  url = api.url;
  const all = opened.move();
  const dispose = () => all.disposeAsync();
  return { manager, monitoring, api, metrics, admin: socketClient(socketPath), [Symbol.asyncDispose]: dispose };
}

export interface Took {
  readonly ms: number;
  readonly cpuMs: number;
}

/** Runs `work` and prints how long it took; counts as missed when it took longer than `limitMs`. */
export function createTimer() {
  let missed = 0;
  const line = (what: string, text: string, ok = true) => {
    if (!ok) missed++;
    process.stdout.write(`${what.padEnd(36)}${text}${ok ? '' : '   MISSED'}\n`);
  };
  return {
    missed: () => missed,
    line,
    async timed<T>(
      what: string,
      work: () => Promise<T>,
      {
        limitMs = Number.POSITIVE_INFINITY,
        more = () => '',
      }: { limitMs?: number; more?: (result: T, took: Took) => string } = {},
    ): Promise<T> {
      const [started, cpu] = [performance.now(), process.cpuUsage()];
      const result = await work();
      const ms = performance.now() - started;
      const { user, system } = process.cpuUsage(cpu);
      const took = { ms, cpuMs: (user + system) / 1000 };
      const figures = [took.ms, took.cpuMs].map((value) => value.toFixed(0).padStart(7));
      const limit = Number.isFinite(limitMs) ? `of ${limitMs} ms ` : '';
      line(what, `${figures[0]} ms ${figures[1]} ms CPU  ${limit}${more(result, took)}`, ms <= limitMs);
      return result;
    },
  };
}

export function rate(count: number): (result: unknown, took: Took) => string {
  return (_, { ms, cpuMs }) =>
    `${((count / ms) * 1000).toFixed(0)} a second, ${((count / cpuMs) * 1000).toFixed(0)} a second of CPU`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** `count` times, so many at once. */
export async function inParallel(count: number, atOnce: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}
