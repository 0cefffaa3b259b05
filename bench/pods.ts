// A manager that leads, and many pods: what enrolling them takes of it and of the API server, with the state in Secrets.
// Usage: node bench/pods.ts [PODS] [SERVICES]      (2000 and 500 unless given)
import { readFileSync } from 'node:fs';
import { createManagerClient } from '../src/api/client.ts';
import { systemClock } from '../src/base/clock.ts';
import { createCsr } from '../src/pki/csr.ts';
import { generateKey } from '../src/pki/keys.ts';
import { startApiServer } from '../test/cluster/api-server.ts';
import { NAMESPACE, startReplicas } from '../test/cluster/replicas.ts';
import { each, makeCrowd, quantile, spaceOf, tokenOfPod } from './crowd.ts';

const [pods = 2_000, services = 500] = process.argv.slice(2).map(Number);
if (![pods, services].every(Number.isInteger)) throw new Error('give two whole numbers: pods, services');
await using ends = new AsyncDisposableStack();
const t = { teardown: (end: () => Promise<void> | void) => ends.defer(async () => await end()) };

const server = await startApiServer(t);
await server.must('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
const uids = await makeCrowd(server, pods, services);
const tokens = new Map<number, string>();
await each(pods, async (n) => {
  tokens.set(n, await tokenOfPod(server, n, uids[n]));
});

const env = { MTLS_KUBERNETES_PODS: 'on', MTLS_KUBERNETES_LEASE: '15s' };
const replicas = await startReplicas(t, { api: server, kubeconfig: server.kubeconfig(), count: 2, env });
const leader = await replicas.leader();
const kilobytes = (pid: number | undefined, field: string) =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const memory = () => Math.round(kilobytes(leader.cli.child.pid, 'VmRSS') / 1024);
const before = memory();
const roots = [(await (await replicas.admin()).status()).rootSha256];
process.stdout.write(`${pods} pods, ${services} Services in 20 namespaces; leader ${before} MiB\n`);

const from = performance.now();
const took = await each(pods, async (n) => {
  const client = createManagerClient({ address: replicas.address, clock: systemClock, timeoutMs: 60_000 });
  const key = await generateKey('ecdsa-p256');
  const expected = { service: 'app', namespace: spaceOf(n), trustDomain: 'ai-teddy.local', roots };
  await client.enrollPod(tokens.get(n) ?? '', createCsr(key, 'app'), expected);
});
const seconds = (performance.now() - from) / 1000;
process.stdout.write(
  `enrolled in ${seconds.toFixed(1)} s: ${Math.round(pods / seconds)}/s, p50 ${quantile(took, 0.5)} ms, p99 ${quantile(took, 0.99)} ms; leader ${memory()} MiB\n`,
);
const { items } = await server.must('GET', `/api/v1/namespaces/${NAMESPACE}/secrets`);
const bytes = (items as ReadonlyArray<{ data: { changes: string } }>).reduce(
  (sum, { data }) => sum + data.changes.length,
  0,
);
process.stdout.write(`state: ${(items as unknown[]).length} Secrets, ${Math.round((bytes * 3) / 4 / 1024)} KiB\n`);
const killed = performance.now();
await replicas.kill(leader);
await replicas.leader();
process.stdout.write(
  `the next one leads ${((performance.now() - killed) / 1000).toFixed(1)} s after SIGKILL, of a Lease of 15 s\n`,
);
