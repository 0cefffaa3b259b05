// A manager and a webhook in a cluster of many: what following it takes of them and of the API server, and how soon they act.
// Usage: node bench/watch.ts [PODS] [SERVICES]      (2000 and 500 unless given)
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createManagerClient } from '../src/api/client.ts';
import { systemClock } from '../src/base/clock.ts';
import { createCsr } from '../src/pki/csr.ts';
import { generateKey } from '../src/pki/keys.ts';
import { startApiServer } from '../test/cluster/api-server.ts';
import { requestOf } from '../test/cluster/pod-requests.ts';
import { type Cli, cli, shortDirectory, startCli } from '../test/support/cli.ts';
import { until } from '../test/support/until.ts';
import { makeCrowd, quantile, spaceOf, tokenOfPod } from './crowd.ts';

const [pods = 2_000, services = 500] = process.argv.slice(2).map(Number);
if (![pods, services].every(Number.isInteger)) throw new Error('give two whole numbers: pods, services');
const SYSTEM = 'sidelock-system';
const CONFIGURATION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidelock-webhook';
const ENROLLED = 20;
const IDLE_S = 60;
await using ends = new AsyncDisposableStack();
const t = { teardown: (end: () => Promise<void> | void) => ends.defer(async () => await end()) };
const print = (line: string) => process.stdout.write(`${line}\n`);

const server = await startApiServer(t);
await server.kubectl(['apply', '-f', '-'], (await cli(['install', '--pod-certificates'])).stdout);
const uids = await makeCrowd(server, pods, services);
const accountUid = await Promise.all(
  Array.from({ length: ENROLLED }, (_, n) => uidOf(`/api/v1/namespaces/${spaceOf(n)}/serviceaccounts/app`)),
);
const nodeUID = await uidOf('/api/v1/nodes/n1');

async function start(account: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Cli> {
  const KUBECONFIG = server.kubeconfig({ token: await server.tokenOf(SYSTEM, account) });
  const running = startCli([...args], { env: { KUBECONFIG, ...env } });
  ends.defer(async () => {
    running.child.kill('SIGTERM');
    await running.ended;
  });
  return running;
}
const manager = await start(
  'sidelock-manager',
  [
    'manager',
    '--storage',
    join(shortDirectory(t), 'pki'),
    '--listen',
    '127.0.0.1:0',
    '--health',
    '127.0.0.1:0',
    '-o',
    'json',
  ],
  {
    MTLS_KUBERNETES_PODS: 'on',
    MTLS_KUBERNETES_POD_CERTIFICATES: 'on',
    MTLS_KUBERNETES_NAMESPACE: SYSTEM,
    MTLS_CA_KEY_SIZE: '2048',
  },
);
const [line] = await manager.saw(/^\{\n {2}"ready": true[\s\S]*?^\}$/m);
const { url, root }: { url: string; root: string } = JSON.parse(line);
const webhook = await start('sidelock-webhook', ['webhook'], {
  MTLS_LISTEN: '127.0.0.1:0',
  MTLS_HEALTH: '127.0.0.1:0',
});
await webhook.saw(/ca_bundle_written/);

async function uidOf(path: string): Promise<string> {
  return ((await server.must('GET', path))['metadata'] as { readonly uid: string }).uid;
}
const memory = ({ child }: Cli) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024);
const processor = ({ child }: Cli) => {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
};
/** Requests so far, but for those of this program. */
async function requests(): Promise<Map<string, number>> {
  const { body } = await server.ask('GET', '/metrics');
  const found = new Map<string, number>();
  for (const [, labels = '', count] of String(body['message']).matchAll(/^apiserver_request_total\{(.*)\} (\d+)/gm)) {
    const [resource, verb] = ['resource', 'verb'].map((name) => new RegExp(`${name}="([^"]*)"`).exec(labels)?.[1]);
    const watched = /services|podcertificate|mutatingwebhook|secrets|configmaps|clustertrust/.test(resource ?? '');
    if (!watched) continue;
    found.set(`${verb} ${resource}`, (found.get(`${verb} ${resource}`) ?? 0) + Number(count));
  }
  return found;
}

for (let n = 0; n < ENROLLED; n++) {
  const client = createManagerClient({ address: url, clock: systemClock, timeoutMs: 60_000 });
  const expected = {
    service: 'app',
    namespace: spaceOf(n),
    trustDomain: 'ai-teddy.local',
    roots: [root.replace('sha256:', '')],
  };
  await client.enrollPod(
    await tokenOfPod(server, n, uids[n]),
    createCsr(await generateKey('ecdsa-p256'), 'app'),
    expected,
  );
}

/** Until it is so, looked at often: ms from `from` on. */
async function reached(from: number, isSo: () => Promise<boolean> | boolean): Promise<number> {
  await until(isSo);
  return performance.now() - from;
}
async function repeated(count: number, once: (n: number) => Promise<number>): Promise<string> {
  const took: number[] = [];
  for (let n = 0; n < count; n++) {
    // Not in step with whoever looks now and then.
    await sleep(1_500 + Math.random() * 1_000);
    took.push(await once(n));
  }
  took.sort((a, b) => a - b);
  return `p50 ${quantile(took, 0.5)} ms, p99 ${quantile(took, 0.99)} ms`;
}

async function ask(n: number, name: string): Promise<number> {
  // A pod that got a certificate by its token has that one no more when kubelet asks.
  const at = ENROLLED + (n % ENROLLED);
  const path = `/apis/certificates.k8s.io/v1/namespaces/${spaceOf(at)}/podcertificaterequests`;
  const spec = {
    ...{
      signerName: 'certificate.ai-teddy.com/identity',
      podName: `pod-${at}`,
      podUID: uids[at],
      nodeName: 'n1',
      nodeUID,
    },
    ...{ serviceAccountName: 'app', serviceAccountUID: accountUid[n % ENROLLED], maxExpirationSeconds: 86_400 },
    stubPKCS10Request: requestOf(await generateKey('ecdsa-p256')).toString('base64'),
  };
  const from = performance.now();
  await server.must('POST', path, { metadata: { name }, spec });
  return await reached(from, async () => {
    const { status } = (await server.must('GET', `${path}/${name}`)) as { readonly status?: { conditions?: object[] } };
    return status?.conditions !== undefined;
  });
}
const changes = () => manager.stderr().match(/services_changed/g)?.length ?? 0;

print(`${pods} pods, ${services} Services; manager ${memory(manager)} MiB, webhook ${memory(webhook)} MiB`);
print(`a request of kubelet is answered: ${await repeated(40, (n) => ask(n, `r-${n}`))}`);
const renamed = await repeated(ENROLLED, async (n) => {
  const before = changes();
  const spec = { selector: { app: `app-${n}` }, ports: [{ port: 80 }], clusterIP: 'None' };
  const from = performance.now();
  await server.must('POST', `/api/v1/namespaces/${spaceOf(n)}/services`, { metadata: { name: `more-${n}` }, spec });
  return await reached(from, () => changes() > before);
});
print(`a certificate that lacks the name of a new Service is found: ${renamed}`);
const restored = await repeated(10, async () => {
  const removed = [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }];
  const from = performance.now();
  await server.must('PATCH', CONFIGURATION, removed, { type: 'application/json-patch+json' });
  return await reached(from, async () => {
    const { webhooks } = (await server.must('GET', CONFIGURATION)) as { webhooks: Array<{ clientConfig: object }> };
    return webhooks.every(({ clientConfig }) => 'caBundle' in clientConfig);
  });
});
print(`a caBundle that was removed is back: ${restored}`);
const [before, used] = [await requests(), [processor(manager), processor(webhook)]];
await sleep(IDLE_S * 1_000);
const after = await requests();
const more = [...after]
  .map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
  .filter(([, n]) => n > 0);
print(
  `a minute in which nothing happens: ${more.reduce((sum, [, count]) => sum + count, 0)} requests to the API server`,
);
for (const [what, count] of more) print(`  ${count} ${what}`);
const spent = [manager, webhook].map((one, at) => processor(one) - (used[at] ?? 0));
print(
  `  processor: manager ${spent[0]} ms, webhook ${spent[1]} ms; memory: ${memory(manager)} and ${memory(webhook)} MiB`,
);
await server.stop();
await sleep(20_000);
await server.start();
print(`after 20 s without API server the next request is answered in ${Math.round(await ask(0, 'late'))} ms`);
