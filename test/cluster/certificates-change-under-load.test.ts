import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { until } from '../support/until.ts';
import { CHART, helm, images } from './helm.ts';
import { kubectl, programs } from './kubectl.ts';
import { account, deployment, ECHO_APP, freshNamespace, list, ready, run, service, serviceAccount } from './pods.ts';
import { importSidecarImage } from './sidecar-image.ts';
import { restartKubelet } from './up.ts';
import { makeVolume, SYSTEM, webhooks } from './volume.ts';

/** So long certificates renew by themselves too (`npm run soak:cluster`); else a rollover and kubelet's restart change them. */
const MINUTES = Number(process.env['SIDELOCK_CLUSTER_MINUTES'] ?? 0);
/** Pods of the one get certificates by their token, those of the other from kubelet. */
const TOKENS = 'by-token';
const KUBELET = 'by-kubelet';
const BOTH = [TOKENS, KUBELET];
const LABEL = 'certificate.ai-teddy.com/inject';
const host = (name: string, namespace: string) => `${name}.${namespace}.svc.cluster.local:8443`;
const UPSTREAMS = [`${host('orders', TOKENS)}=${TOKENS}/orders`, `${host('stock', KUBELET)}=${KUBELET}/stock`].join(
  ',',
);

/** Calls every upstream again and again, on kept connections and new ones, and counts from the first answer on. */
const LOAD = `
const http = require('node:http');
let sent = 0;
const failed = {};
const urls = Object.entries(process.env).filter(([name]) => name.endsWith('_MTLS_URL')).map(([, url]) => url);
const call = (url, agent) => new Promise((done) => {
  const fail = (why) => done(why);
  http.get(url, { agent }, (r) => r.on('error', (e) => fail(e.code)).resume().on('end', () =>
    done(r.statusCode === 200 ? undefined : r.statusCode + ' ' + r.headers['x-sidelock-reason']))).on('error', (e) => fail(e.code));
});
async function caller(url, agent) {
  while (await call(url, agent) !== undefined) await new Promise((again) => setTimeout(again, 200));
  for (;;) {
    sent++;
    const why = await call(url, agent);
    if (why !== undefined) failed[why] = (failed[why] ?? 0) + 1;
    await new Promise((again) => setTimeout(again, 20));
  }
}
for (const url of urls) for (const agent of [new http.Agent({ keepAlive: true }), false]) caller(url, agent);
http.createServer((q, r) => r.end(JSON.stringify({ sent, failed, callers: urls.length * 2 }))).listen(7777, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));`;
const READ = `fetch('http://127.0.0.1:7777').then(async (r) => console.log(await r.text()))`;

const chart = (step: 'install' | 'upgrade', ...more: readonly string[]) => {
  const env = { MTLS_CA_KEY_SIZE: '2048', MTLS_KUBERNETES_VALIDITY: '10m' };
  const set = Object.entries(env).flatMap(([name, value], at) => [
    '--set-string',
    `manager.extraEnv[${at}].name=${name},manager.extraEnv[${at}].value=${value}`,
  ]);
  return helm(step, 'sidelock', CHART, '-n', SYSTEM, '--wait', '--timeout', '2m', ...images(), ...set, ...more);
};

/** A command of the manager, in its pod. */
const manager = (...words: readonly string[]) => {
  const line = ['/usr/local/bin/node', '/app/src/cli/main.ts', ...words, '--storage', '/var/lib/sidelock/store'];
  return kubectl(['-n', SYSTEM, 'exec', 'deployment/sidelock-manager', '--', ...line, '-o', 'json']);
};

const accounts = async () => (await Promise.all([...BOTH, SYSTEM].map(account))).join('\n');

/** Until it is so, which a pod that is being replaced cannot say. */
async function comesAbout(isSo: () => Promise<boolean>): Promise<void> {
  try {
    await until(() => isSo().catch(() => false), { every: 250, within: 120_000 });
  } catch (cause) {
    throw new Error(`it did not come about:\n${await accounts()}`, { cause });
  }
}

async function objects(namespace: string) {
  const labelled = (name: string) => serviceAccount(namespace, name);
  const name = namespace === TOKENS ? 'orders' : 'stock';
  const allow = BOTH.map((one) => `${one}/load`).join(',');
  const annotations = { inbound: '8443:8080', allow, protocol: 'http' };
  const server = deployment(namespace, { name, script: ECHO_APP, serviceAccount: name, annotations });
  const load = { upstreams: UPSTREAMS, protocol: 'http' };
  const caller = deployment(namespace, { name: 'load', script: LOAD, serviceAccount: 'load', annotations: load });
  await kubectl(
    ['apply', '-f', '-'],
    list([labelled(name), labelled('load'), service(namespace, name, 8443), server, caller]),
  );
  await ready(namespace, name, 'load');
}

/** What each pod is, and that none of its containers was started again. */
async function pods(): Promise<string> {
  const path = `jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount}{"\\n"}{end}`;
  return (await Promise.all(BOTH.map((namespace) => kubectl(['-n', namespace, 'get', 'pods', '-o', path])))).join('');
}

interface Counts {
  readonly sent: number;
  readonly failed: object;
}

const counts = (namespace: string): Promise<Counts> =>
  run(namespace, 'deploy/load', 'app', READ).then((text) => JSON.parse(text));

async function noneFailed(t: Test): Promise<void> {
  for (const namespace of BOTH) {
    const { sent, failed } = await counts(namespace);
    if (t.same(failed, {}, `none of ${sent} requests from ${namespace} failed`)) continue;
    t.comment(await accounts());
  }
}

/** Serial of the certificate that a workload serves with. */
async function serial(namespace: string, workload: string): Promise<string> {
  const show = `fetch('http://127.0.0.1:15020/identity').then(async (r) => console.log(await r.text()))`;
  return JSON.parse(await run(namespace, workload, 'sidelock', show)).serial;
}

const WORKLOADS = [
  [TOKENS, 'deploy/orders'],
  [TOKENS, 'deploy/load'],
  [KUBELET, 'deploy/stock'],
  [KUBELET, 'deploy/load'],
] as const;
const serials = () => Promise.all(WORKLOADS.map(([namespace, workload]) => serial(namespace, workload)));

t.before(async () => {
  importSidecarImage(programs());
  await uninstall('--wait');
  await Promise.all(BOTH.map((name) => freshNamespace(name, [`${LABEL}=enabled`])));
  await freshNamespace(SYSTEM);
  await makeVolume();
});

async function uninstall(...flags: readonly string[]): Promise<void> {
  await helm('uninstall', 'sidelock', '-n', SYSTEM, '--ignore-not-found', ...flags);
  await kubectl(['delete', 'namespace', '--ignore-not-found', '--wait=false', ...BOTH, SYSTEM]);
}
t.teardown(() => uninstall());

t.test('pods with tokens run; an upgrade of the chart lets kubelet fetch certificates for pods without', async (t) => {
  const made = await chart('install');
  t.equal(made.code, 0, made.stderr);
  await objects(TOKENS);
  const old = await webhooks();
  const upgraded = await chart('upgrade', '--set', 'podCertificates.enabled=true');
  t.equal(upgraded.code, 0, upgraded.stderr);
  // They serve for a moment, and know nothing of pod certificates.
  await kubectl(['-n', SYSTEM, 'wait', '--for=delete', '--timeout=60s', ...old]);
  await objects(KUBELET);
  const volumes = JSON.parse(await kubectl(['-n', KUBELET, 'get', 'pods', '-l', 'app=stock', '-o', 'json']));
  const sources = volumes.items[0].spec.volumes.flatMap((volume: { projected?: { sources: object[] } }) =>
    (volume.projected?.sources ?? []).flatMap(Object.keys),
  );
  t.same(sources, ['podCertificate', 'clusterTrustBundle'], 'no token is in the pod');
  const log = await kubectl(['-n', SYSTEM, 'logs', 'deployment/sidelock-manager']);
  t.notMatch(log, /rights_missing|"level":50/);
});

t.test('a root follows another in all of them, under load, without a failed request or a restart', async (t) => {
  for (const namespace of BOTH) await comesAbout(async () => (await counts(namespace)).sent > 100);
  const before = await pods();
  const first = await serials();
  const status = async () => JSON.parse(await manager('trust', 'status'));
  const isReady = async () => (await status()).lacking.length === 0;

  await manager('trust', 'stage');
  await comesAbout(isReady);
  await manager('trust', 'activate');
  const { lacking } = await status();
  const kept = lacking.filter(({ holder }: { readonly holder: string }) => holder === 'unknown');
  t.equal(kept.length, 2, 'the old root stays for those whom kubelet serves');
  await restartKubelet(programs());
  await comesAbout(isReady);
  const second = await serials();
  t.notOk(
    second.some((serial, at) => serial === first[at]),
    'every one has another certificate',
  );
  await manager('trust', 'retire', '--yes');
  const bundle = [
    'get',
    'clustertrustbundle',
    'certificate.ai-teddy.com:identity:bundle',
    '-o',
    'jsonpath={.spec.trustBundle}',
  ];
  await comesAbout(async () => (await kubectl(bundle)).match(/BEGIN/g)?.length === 1);
  t.match(new X509Certificate(await kubectl(bundle)).subject, /\(2\)/);
  const atEnd = await Promise.all(BOTH.map(counts));
  await comesAbout(async () => {
    const now = await Promise.all(BOTH.map(counts));
    return now.every(({ sent }, at) => sent > (atEnd[at]?.sent ?? 0) + 200);
  });
  await noneFailed(t);
  t.equal(await pods(), before, 'the same pods, none of their containers started again');
});

async function renewals(t: Test): Promise<void> {
  const seen = WORKLOADS.map(() => new Set<string>());
  for (let minute = 0; minute < MINUTES; minute++) {
    for (const [at, serial] of (await serials()).entries()) seen[at]?.add(serial);
    await sleep(60_000);
  }
  for (const [at, all] of seen.entries()) {
    t.ok(all.size > MINUTES / 15, `${WORKLOADS[at]?.join(' ')}: ${all.size} certificates`);
  }
  await noneFailed(t);
}

if (MINUTES > 0) t.test('certificates of 10 minutes renew by themselves under load', renewals);
