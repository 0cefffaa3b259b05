import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { attached } from '../support/attached.ts';
import { shortDirectory, startProgram } from '../support/cli.ts';
import { build } from './build.ts';

type Json = Readonly<Record<string, unknown>>;

/** A real API server with its etcd, and no controllers, scheduler or kubelet: what is written is all that happens. */
export interface ApiServer {
  readonly url: string;
  readonly directory: string;
  /** Asks as the administrator, or as whoever has the token. */
  ask(method: string, path: string, body?: unknown, options?: AskOptions): Promise<Answer>;
  /** As `ask`. @throws Error with what the API server said unless it did it */
  must(method: string, path: string, body?: unknown, options?: AskOptions): Promise<Json>;
  /** Runs kubectl as the administrator. @throws Error with what it said */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  /** A kubeconfig file of whoever has the token, or what is in that file; of the administrator unless given. */
  kubeconfig(options?: { readonly token?: string; readonly tokenFile?: string; readonly server?: string }): string;
  /** A token of a ServiceAccount, made by the API server. */
  tokenOf(namespace: string, account: string, spec?: Json): Promise<string>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Makes etcd forget all versions but the present ones. */
  compact(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: Json;
  /** What kubectl shows as warnings. */
  readonly warnings: string;
}

interface AskOptions {
  readonly token?: string;
  readonly type?: string;
}

const ADMIN = 'administrator';
/** The token of the kubelet of node `n1`. */
export const KUBELET = 'kubelet-of-n1';

/** Ready in about 3 seconds, on ports that were free; ends with the test. */
export async function startApiServer(t: { teardown(end: () => Promise<void> | void): void }): Promise<ApiServer> {
  const programs = process.env['KUBEBUILDER_ASSETS'] ?? build();
  const directory = shortDirectory(t);
  const path = (name: string) => join(directory, name);
  const running = new Map<string, ChildProcess>();
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(path('sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(path('sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(
    path('tokens.csv'),
    `${ADMIN},admin,admin,system:masters\n${KUBELET},system:node:n1,n1,system:nodes\n`,
    { mode: 0o600 },
  );
  const [port = 0, etcd = 0, peer = 0] = await freePorts(3);
  const url = `https://127.0.0.1:${port}`;

  const run = (name: string, args: readonly string[]) => {
    const log = openSync(path(`${name}.log`), 'a');
    running.set(name, spawn(...attached(join(programs, name), args), { stdio: ['ignore', log, log] }));
  };
  const end = async (name: string) => {
    const child = running.get(name);
    running.delete(name);
    if (child === undefined || child.exitCode !== null) return;
    const closed = once(child, 'exit');
    child.kill('SIGKILL');
    await closed;
  };
  const ask: ApiServer['ask'] = (method, at, body, { token = ADMIN, type = 'application/json' } = {}) => {
    const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': type }) };
    return new Promise((resolve, reject) => {
      const ca = readFileSync(path('apiserver.crt'));
      const sent = request(`${url}${at}`, { method, headers, ca, agent: false }, (response) => {
        text(response).then((content) => {
          const parsed = content.startsWith('{') ? JSON.parse(content) : { message: content };
          resolve({
            status: response.statusCode ?? 0,
            body: parsed,
            warnings: String(response.headers['warning'] ?? ''),
          });
        }, reject);
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  };
  const must: ApiServer['must'] = async (method, at, body, options) => {
    const answer = await ask(method, at, body, options);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw new Error(`${method} ${at}: ${answer.status} ${String(answer.body['message'])}`);
  };
  const start = async () => {
    run('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${etcd}`,
      `--cert-dir=${directory}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      `--token-auth-file=${path('tokens.csv')}`,
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--service-cluster-ip-range=10.0.0.0/24',
      `--service-account-issuer=https://kubernetes.default.svc`,
      `--service-account-key-file=${path('sa.pub')}`,
      `--service-account-signing-key-file=${path('sa.key')}`,
    ]);
    for (let tries = 0; ; tries++) {
      const ready = await ask('GET', '/readyz').catch(() => undefined);
      if (ready?.status === 200) return;
      if (tries === 600) throw new Error(readFileSync(path('kube-apiserver.log'), 'utf8').slice(-2_000));
      await sleep(100);
    }
  };

  t.teardown(async () => {
    await end('kube-apiserver');
    await end('etcd');
  });
  run('etcd', [
    `--data-dir=${path('etcd')}`,
    `--listen-client-urls=http://127.0.0.1:${etcd}`,
    `--advertise-client-urls=http://127.0.0.1:${etcd}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    '--unsafe-no-fsync=true',
    '--log-level=warn',
  ]);
  await start();
  await must('POST', '/api/v1/nodes', { metadata: { name: 'n1' } });

  let files = 0;
  const kubeconfig: ApiServer['kubeconfig'] = ({ token = ADMIN, tokenFile, server = url } = {}) => {
    const file = path(`kubeconfig-${files++}`);
    // As client-node has that of a pod.
    const user =
      tokenFile === undefined ? { token } : { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server, 'certificate-authority': path('apiserver.crt') } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'c',
    };
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  };
  const admin = kubeconfig();
  return {
    url,
    directory,
    ask,
    must,
    start,
    stop: () => end('kube-apiserver'),
    kubeconfig,
    async kubectl(args, stdin) {
      const running = startProgram(join(programs, 'kubectl'), [`--kubeconfig=${admin}`, ...args], {
        stdin: stdin ?? '',
      });
      const { code, stdout, stderr } = await running.ended;
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}:\n${stderr}`);
      return stdout;
    },
    async compact() {
      const ask = async (path: string, body: object) => {
        const answer = await fetch(`http://127.0.0.1:${etcd}/v3/${path}`, {
          method: 'POST',
          body: JSON.stringify(body),
        });
        if (!answer.ok) throw new Error(`etcd ${path}: ${await answer.text()}`);
        return (await answer.json()) as { readonly header: { readonly revision: string } };
      };
      const { header } = await ask('maintenance/status', {});
      await ask('kv/compaction', { revision: header.revision, physical: true });
    },
    async tokenOf(namespace, account, spec = {}) {
      const at = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
      const { status } = await must('POST', at, { spec });
      return (status as { readonly token: string }).token;
    },
  };
}

/** Ports that nobody has now: these programs cannot be told to choose. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server: Server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}
