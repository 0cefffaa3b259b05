import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SECOND, systemClock, systemRandom } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import { formatAddress, listen } from '../base/listen.ts';
import { createMetrics } from '../base/metrics.ts';
import type { DemoConfig } from '../config/demo.ts';
import { loadConfig } from '../config/load.ts';
import { DEFAULT_LIMITS } from '../sidecar/options.ts';
import type { Sidecar } from '../sidecar/sidecar.ts';
import { startDemoApp } from './demo-app.ts';
import { createLogging } from './logging.ts';
import type { Output } from './output.ts';
import { aborted } from './signals.ts';
import { socketPathOf, startManager } from './start-manager.ts';
import { day } from './table.ts';

export interface DemoService {
  readonly name: string;
  /** Where its app listens without TLS, and its sidecar with. */
  readonly app: string;
  readonly mtls: string;
  readonly sidecar: Sidecar;
  readonly upstreams: ReadonlyArray<{ readonly service: string; readonly url: string }>;
}

export interface Mesh extends AsyncDisposable {
  readonly storage: string;
  readonly services: readonly DemoService[];
  service(name: string): DemoService;
}

/**
 * A manager in a directory of its own, and for each service an app and a sidecar that enrolled with it. Everything
 * ends, and the directory is removed, when the result is disposed of or anything here fails.
 */
export async function startMesh(config: DemoConfig, output: Output, stop: AbortSignal): Promise<Mesh> {
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-dev-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  // However this ends: a second Ctrl-C waits for nothing.
  process.once('exit', remove);
  started.defer(remove);
  const storage = join(directory, 'pki');
  const tokenFor = await startDemoManager(config, { storage, output, started });

  const services: DemoService[] = [];
  const find = (name: string): DemoService => {
    const found = services.find((service) => service.name === name);
    if (found === undefined) throw new RangeError(`there is no service ${name} in the demo`);
    return found;
  };
  for (const service of config.services) {
    services.push(await startService(service, { config, directory, output, started, stop, tokenFor, find }));
  }
  const running = started.move();
  return { storage, services, service: find, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

interface ManagerPlace {
  readonly storage: string;
  readonly output: Output;
  readonly started: AsyncDisposableStack;
}

/** Resolves with the way to get a join token for a service: over the socket of the manager, as an operator does. */
async function startDemoManager({ ca, trustDomain }: DemoConfig, { storage, output, started }: ManagerPlace) {
  const text = JSON.stringify({ trustDomain, ca, storage: { path: storage }, listen: LOCAL, health: LOCAL });
  const { config } = loadConfig('Manager', { file: { name: 'the manager of the demo', text }, env: {} });
  const log = createLogging(output, { level: 'error', people: true });
  const begun = performance.now();
  const { manager } = started.use(await startManager(config, { output, log, metrics: createMetrics() }));
  const { caName, rootNotAfter } = manager.ca;
  const took = `${((performance.now() - begun) / SECOND).toFixed(1)}s`;
  const ok = output.style('green', output.signs.ok);
  const key = `RSA ${config.ca.keySize}, until ${day(rootNotAfter)}`;
  output.print(`  ${ok} ${'CA ready'.padEnd(18)} ${caName} (${key})   ${took}`);
  const { socketClient } = await import('../api/client-socket.ts');
  return async (service: string) => (await socketClient(socketPathOf(storage)).createToken({ service })).token;
}

const LOCAL = '127.0.0.1:0';

interface ServicePlace {
  readonly config: DemoConfig;
  readonly directory: string;
  readonly output: Output;
  readonly started: AsyncDisposableStack;
  readonly stop: AbortSignal;
  readonly tokenFor: (service: string) => Promise<string>;
  readonly find: (name: string) => DemoService;
}

async function startService(service: DemoConfig['services'][number], place: ServicePlace): Promise<DemoService> {
  const { config, directory, output, started, stop, tokenFor, find } = place;
  const { name, calls, allow } = service;
  const free = (at: HostPort, what: string) => freePort(at, what, output);
  const app = started.use(await startDemoApp(name, await free(service.app, `the app of ${name}`)));
  const { startSidecar } = await import('../sidecar/sidecar.ts');
  const sidecar = started.use(
    await startSidecar(
      {
        service: name,
        namespace: 'default',
        trustDomain: config.trustDomain,
        identity: { source: 'manager', service: name, directory: join(directory, name), token: () => tokenFor(name) },
        inbound: [
          {
            name: 'inbound',
            listen: await free(service.mtls, `the sidecar of ${name}`),
            target: { host: app.address.address, port: app.address.port },
            protocol: 'tcp',
            allow,
          },
        ],
        outbound: await Promise.all(
          calls.map(async (call) => ({
            name: call.service,
            listen: await free(call.listen, `${name} to reach ${call.service}`),
            service: call.service,
            address: mtlsAddress(find(call.service)),
            protocol: 'tcp' as const,
            expect: [],
          })),
        ),
        admin: false,
        limits: { ...DEFAULT_LIMITS, drainMs: SECOND },
      },
      {
        clock: systemClock,
        random: systemRandom,
        log: createLogging(output, { level: 'warn', people: true, prefix: `  sidecar(${name}): ` }),
        metrics: createMetrics(),
      },
    ),
  );
  await Promise.race([sidecar.ready, aborted(stop)]);
  stop.throwIfAborted();
  const [inbound] = sidecar.inbound;
  return {
    name,
    sidecar,
    app: formatAddress({ host: app.address.address, port: app.address.port }),
    mtls: inbound === undefined ? '' : formatAddress({ host: inbound.address.address, port: inbound.address.port }),
    upstreams: sidecar.outbound.map(({ name: peer, address }) => ({
      service: peer,
      url: `http://${formatAddress({ host: address.address, port: address.port })}`,
    })),
  };
}

interface HostPort {
  readonly host: string;
  readonly port: number;
}

function mtlsAddress({ sidecar }: DemoService): HostPort {
  const [inbound] = sidecar.inbound;
  if (inbound === undefined) throw new RangeError('a service of the demo has an inbound listener');
  return { host: inbound.address.address, port: inbound.address.port };
}

/** The port of the file, or, so that a demo does not fail over it, any other one when somebody has it. */
async function freePort(at: HostPort, what: string, output: Output): Promise<HostPort> {
  if (at.port === 0) return at;
  const probe = createServer();
  try {
    await listen(probe, at, what);
    await new Promise<void>((resolve) => probe.close(() => resolve()));
    return at;
  } catch (error) {
    if (!isSidelockError(error, 'SL-NET-001')) throw error;
    output.warn(`${error.message}: ${error.why ?? ''}; using another port`);
    return { host: at.host, port: 0 };
  }
}
