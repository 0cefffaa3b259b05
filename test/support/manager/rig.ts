import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManagerClient } from '../../../src/api/client.ts';
import { socketClient } from '../../../src/api/client-socket.ts';
import { startApi } from '../../../src/api/server.ts';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { createLogger, type Logger } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { createManager } from '../../../src/manager/manager.ts';
import type { ManagerOptions } from '../../../src/manager/options.ts';
import { createCsr } from '../../../src/pki/csr.ts';
import { generateKey, type KeyType, privateKeyToPem } from '../../../src/pki/keys.ts';
import { type IdentityMaterial, readIdentity } from '../../../src/pki/material.ts';
import { settle } from '../fake-clock.ts';

interface Teardown {
  teardown(work: () => PromiseLike<unknown>): unknown;
}

/** The system's clock with an offset that tests set. A shift wakes all who sleep, as the next tick would. */
export interface ShiftedClock extends Clock {
  shift(ms: number): void;
}

export function shiftedClock(): ShiftedClock {
  let offset = 0;
  let shifted = new AbortController();
  return {
    now: () => systemClock.now() + offset,
    async sleep(ms, signal) {
      const woken = shifted.signal;
      try {
        await systemClock.sleep(ms, AbortSignal.any([signal, woken]));
      } catch (error) {
        if (signal.aborted || !woken.aborted) throw error;
      }
    },
    shift(ms) {
      offset += ms;
      shifted.abort();
      shifted = new AbortController();
    },
  };
}

/** Lines of the log as objects. */
export function recordingLog(): { log: Logger; lines: Array<Record<string, unknown>> } {
  const lines: Array<Record<string, unknown>> = [];
  const log = createLogger({ level: 'debug', stream: { write: (line: string) => lines.push(JSON.parse(line)) } });
  return { log, lines };
}

export async function temporaryDirectory(t: Teardown): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

type Overrides = Partial<Omit<ManagerOptions, 'clock'>>;

/** A manager with a small CA key; `storage` is used again to see a restart. */
export async function openManager(storage: string, clock: Clock, overrides: Overrides = {}) {
  return await createManager({
    storagePath: storage,
    clock,
    random: () => 0.5,
    log: createLogger({ level: 'silent' }),
    metrics: createMetrics(),
    address: 'https://localhost:9443',
    ...overrides,
    ca: { keySize: 2048, ...overrides.ca },
    certificates: { keyType: 'ecdsa-p256', ...overrides.certificates },
  });
}

type ApiOverrides = Pick<Parameters<typeof startApi>[0], 'limits' | 'est'>;

/** A manager and its API on free ports, closed when the test ends. */
export async function startRig(t: Teardown, overrides: Overrides & ApiOverrides = {}) {
  const directory = await temporaryDirectory(t);
  const storage = join(directory, 'store');
  const clock = shiftedClock();
  const { log, lines } = recordingLog();
  const metrics = createMetrics();
  const { limits = {}, est = false, ...managerOverrides } = overrides;
  let url = 'https://localhost:1';
  const manager = await openManager(storage, clock, { log, metrics, address: () => url, ...managerOverrides });
  t.teardown(() => manager[Symbol.asyncDispose]());
  const socketPath = join(storage, '.sidelock', 'manager.sock');
  const local = { host: '127.0.0.1', port: 0 };
  const api = await startApi({ manager, listen: local, health: local, socketPath, clock, log, metrics, limits, est });
  t.teardown(() => api[Symbol.asyncDispose]());
  url = api.url;

  const client = (identity?: IdentityMaterial) =>
    createManagerClient({ address: url, clock, ...(identity === undefined ? {} : { identity: () => identity }) });

  return {
    storage,
    clock,
    lines,
    metrics,
    manager,
    api,
    url,
    socketPath,
    admin: socketClient(socketPath),
    client,
    /** Lets time pass; afterwards the API is served with a certificate of the new time. */
    async pass(ms: number): Promise<void> {
      clock.shift(ms);
      await manager.managerIdentity();
      await settle();
    },
    /** A service that has enrolled as a sidecar would. */
    async enroll(service: string, keyType: KeyType = 'ecdsa-p256'): Promise<IdentityMaterial> {
      const { token } = await manager.tokens.create({ service });
      const { keyPem, csr } = await candidate(service, keyType);
      const answer = await client().enroll(token, csr);
      return readIdentity({ cert: answer.certificate, key: keyPem, ca: answer.bundle }, { now: clock.now() });
    },
  };
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** A fresh key and the request for it. */
export async function candidate(service: string, keyType: KeyType = 'ecdsa-p256') {
  const key = await generateKey(keyType);
  return { key, keyPem: privateKeyToPem(key), csr: createCsr(key, service) };
}
