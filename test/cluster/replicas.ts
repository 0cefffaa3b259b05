import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { socketClient } from '../../src/api/client-socket.ts';
import type { InventoryEntry } from '../../src/manager/inventory.ts';
import { type Cli, shortDirectory, startCli } from '../support/cli.ts';
import type { ApiServer } from './api-server.ts';

export const NAMESPACE = 'sidelock-system';
/** Shorter than the default of 10 s; a busy machine needs a third of it for a call. */
const LEASE = '5s';
const SLICE = `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices/sidelock-manager`;

interface Process {
  readonly cli: Cli;
  readonly storage: string;
  readonly health: Promise<string>;
}

/** Managers as processes, and a Service in front of them, which does what the EndpointSlice says. */
export interface Replicas {
  /** https address of the Service. */
  readonly address: string;
  readonly all: readonly Process[];
  /** Of each process, but for its storage. */
  readonly env: Readonly<Record<string, string>>;
  /** The process that leads: it has said so, lives, and its socket answers. */
  leader(): Promise<Process>;
  admin(): Promise<ReturnType<typeof socketClient>>;
  /** SIGKILL, and another process in its place. */
  kill(process: Process): Promise<void>;
  /** What the leader has on its disk. */
  inventory(): Promise<InventoryEntry[]>;
}

interface StartOptions {
  readonly api: ApiServer;
  readonly kubeconfig: string;
  readonly count?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startReplicas(
  t: { teardown(end: () => Promise<void> | void): void },
  { api, kubeconfig, count = 3, env: more = {} }: StartOptions,
): Promise<Replicas> {
  const home = shortDirectory(t);
  const service = await startService(t, api);
  const address = `https://127.0.0.1:${service}`;
  const env = {
    KUBECONFIG: kubeconfig,
    MTLS_LISTEN: '127.0.0.1:0',
    MTLS_HEALTH: '127.0.0.1:0',
    MTLS_ADDRESS: address,
    MTLS_CA_KEY_SIZE: '2048',
    MTLS_KUBERNETES_NAMESPACE: NAMESPACE,
    MTLS_KUBERNETES_STATE: 'secrets',
    MTLS_KUBERNETES_LEASE: LEASE,
    ...more,
  };
  let started = 0;
  const start = (): Process => {
    const storage = join(home, `r${started++}`);
    const cli = startCli(['manager', '--log-level', 'debug'], {
      env: { ...env, MTLS_STORAGE_PATH: storage, MTLS_KUBERNETES_POD_ADDRESS: `10.244.0.${10 + started}` },
    });
    const health = cli.saw(/"event":"standing_by".*?"health":"([^"]+)"/).then(([, at = '']) => at);
    health.catch(() => {});
    return { cli, storage, health };
  };
  const all = Array.from({ length: count }, start);
  t.teardown(async () => {
    for (const { cli } of all) {
      cli.child.kill('SIGCONT');
      cli.child.kill('SIGKILL');
    }
    await Promise.all(all.map(({ cli }) => cli.ended));
  });
  const isLeading = async ({ cli, storage }: Process) => {
    if (cli.child.exitCode !== null || cli.child.signalCode !== null || !cli.stdout().includes('manager ready')) {
      return false;
    }
    const answer = await Promise.race([
      socketClient(join(storage, '.sidelock', 'manager.sock'))
        .status()
        .catch(() => undefined),
      sleep(500).then(() => undefined),
    ]);
    return answer !== undefined;
  };
  const leader = async (): Promise<Process> => {
    for (let tries = 0; tries < 1_200; tries++) {
      // One that lost its Lease ends, and is started again by kubelet.
      for (const [at, { cli }] of all.entries()) if (cli.child.exitCode !== null) all.splice(at, 1, start());
      for (const one of all) if (await isLeading(one)) return one;
      await sleep(50);
    }
    throw new Error(`nobody leads:\n${all.map(({ cli }) => cli.stderr().slice(-1_500)).join('\n---\n')}`);
  };
  return {
    address,
    all,
    env,
    leader,
    admin: async () => socketClient(join((await leader()).storage, '.sidelock', 'manager.sock')),
    async kill(process) {
      process.cli.child.kill('SIGKILL');
      await process.cli.ended;
      all.splice(all.indexOf(process), 1, start());
    },
    async inventory() {
      const directory = join((await leader()).storage, '.sidelock', 'inventory');
      return readdirSync(directory)
        .filter((file) => /^[0-9a-f]+\.json$/.test(file))
        .map((file) => JSON.parse(readFileSync(join(directory, file), 'utf8')));
    },
  };
}

/** What kube-proxy does: connections go where the EndpointSlice says; only the port differs on one machine. */
async function startService(t: { teardown(end: () => void): void }, api: ApiServer): Promise<number> {
  const open = new Set<Socket>();
  const port = async (): Promise<number> => {
    const { body } = await api.ask('GET', SLICE);
    const ports = (body['ports'] ?? []) as ReadonlyArray<{ name: string; port: number }>;
    return ports.find(({ name }) => name === 'api')?.port ?? 1;
  };
  const server: Server = createServer({ allowHalfOpen: false }, (client) => {
    open.add(client);
    client.on('error', () => {});
    client.on('close', () => open.delete(client));
    port().then(
      (to) => {
        const upstream = connect(to, '127.0.0.1');
        open.add(upstream);
        client.on('data', (data) => upstream.write(data));
        upstream.on('data', (data) => client.write(data));
        upstream.on('error', () => client.destroy());
        upstream.on('close', () => client.destroy());
        client.on('close', () => upstream.destroy());
      },
      () => client.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
