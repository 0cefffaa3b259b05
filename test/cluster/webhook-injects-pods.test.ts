import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { cli, startCli } from '../support/cli.ts';
import { until } from '../support/until.ts';
import { CHART, helm, images } from './helm.ts';
import { kubectl, programs, tryKubectl } from './kubectl.ts';
import {
  CALL_ORDERS,
  deployment,
  ECHO_APP,
  freshNamespace,
  IDLE_APP,
  list,
  ready,
  run,
  service,
  serviceAccount,
  template,
} from './pods.ts';
import { importSidecarImage } from './sidecar-image.ts';
import { ADMIN_KUBECONFIG } from './state.ts';
import { makeVolume, SYSTEM, webhooks } from './volume.ts';

const NAMESPACE = 'hooked';
const LABEL = 'certificate.ai-teddy.com/inject';
const CONFIGURATION = 'mutatingwebhookconfiguration/sidelock-webhook';
const host = (name: string) => `${name}.${NAMESPACE}.svc.cluster.local:8443`;
/** Serves on for a moment when its end begins, as any app behind a Service must. */
const PROBED = {
  lifecycle: { preStop: { sleep: { seconds: 4 } } },
  readinessProbe: { periodSeconds: 1, httpGet: { path: '/ready', port: 8080 } },
};
const UPSTREAMS = { upstreams: `${host('orders')}=orders` };
/** Keeps a connection open, so that there is one to be seen. */
const WEB_APP = `(function call() {
  const socket = require('node:net').connect(process.env.ORDERS_MTLS_PORT, '127.0.0.1');
  socket.write('GET / HTTP/1.1\\r\\nhost: orders\\r\\n\\r\\n');
  socket.on('data', () => {}).on('error', () => {}).on('close', () => setTimeout(call, 200));
})(); process.on('SIGTERM', () => process.exit(0))`;

const inNamespace = (...args: readonly string[]) => kubectl(['-n', NAMESPACE, ...args]);

/** Calls without a pause until it is told to stop, four at a time, a connection each. */
const LOAD = `
const pods = new Set(), failed = {};
let sent = 0, stopped = false;
require('node:http').createServer((q, r) => { stopped = true; r.end(); }).listen(7777, '127.0.0.1').unref();
async function caller() {
  while (!stopped) {
    sent++;
    try {
      const r = await fetch(process.env.ORDERS_MTLS_URL);
      pods.add(r.headers.get('x-pod'));
      await r.text();
      if (r.status !== 200) failed[r.status + ' ' + r.headers.get('x-sidelock-reason')] = (failed[r.status] ?? 0) + 1;
    } catch (e) { failed[e.cause?.code ?? e.message] = 1; }
  }
}
Promise.all([1, 2, 3, 4].map(caller)).then(() => console.log(JSON.stringify({ sent, failed, pods: pods.size })));`;

/** The init containers of the newest pod of an app. */
async function sidecarsOf(app: string): Promise<string> {
  const path = 'jsonpath={.items[*].spec.initContainers[*].name}';
  return await inNamespace('get', 'pods', '-l', `app=${app}`, '-o', path);
}

t.before(async () => {
  importSidecarImage(programs());
  await uninstall('--wait');
  await freshNamespace(NAMESPACE, [`${LABEL}=enabled`]);
});

async function uninstall(...flags: readonly string[]): Promise<void> {
  await helm('uninstall', 'sidelock', '-n', SYSTEM, '--ignore-not-found', ...flags);
  await kubectl(['delete', 'namespace', '--ignore-not-found', '--wait=false', NAMESPACE, SYSTEM]);
}
t.teardown(() => uninstall());

t.test('the chart installs and becomes ready under restricted, each account with the rights it needs', async (t) => {
  await freshNamespace(SYSTEM);
  await makeVolume();
  const args = ['sidelock', CHART, '-n', SYSTEM, '--wait', '--timeout', '2m', ...images()];
  const small = ['--set-string', 'manager.extraEnv[0].name=MTLS_CA_KEY_SIZE,manager.extraEnv[0].value=2048'];
  const made = await helm('install', ...args, ...small);
  t.equal(made.code, 0, made.stderr);
  for (const name of ['sidelock-manager', 'sidelock-webhook']) {
    t.notMatch(await kubectl(['-n', SYSTEM, 'logs', `deployment/${name}`]), /rights_missing|"level":50/, name);
  }
  const apply = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'];
  const printed = await tryKubectl(apply, (await cli(['install'])).stdout);
  t.equal(printed.code, 0, printed.stderr);
  t.notMatch(printed.stderr, /Warning/, 'what sidelock install prints passes too');
});

t.test('check --kubernetes finds nothing wrong with it', async (t) => {
  const env = { KUBECONFIG: ADMIN_KUBECONFIG };
  const { code, stdout, stderr } = await cli(['check', '--kubernetes', '--fail-on', 'warning'], { env });
  t.equal(code, 0, stdout + stderr);
  t.match(stdout, /cluster\.injection +tried in 1 namespaces: pods get a sidecar/);
  t.match(stdout, /11 ok, 0 to know, warnings: 0, errors: 0/);
});

t.test('a pod that is made while the webhook is replaced has its sidecar', async (t) => {
  const annotations = { service: 'default', inbound: '8443:8080', allow: 'web' };
  const app = template({ name: 'tried', script: IDLE_APP, annotations });
  const pod = { apiVersion: 'v1', kind: 'Pod', ...app, metadata: { ...app.metadata, name: 'tried' } };
  const path = 'jsonpath={.spec.initContainers[*].name}';
  const make = ['create', '--dry-run=server', '-o', path, '-f', '-'];
  const inSystem = (...words: readonly string[]) => kubectl(['-n', SYSTEM, ...words]);
  const old = await webhooks();
  await inSystem('rollout', 'restart', 'deployment/sidelock-webhook');
  let replaced = false;
  const done = inSystem('wait', '--for=delete', '--timeout=120s', ...old).finally(() => {
    replaced = true;
  });
  const found = new Map<string, number>();
  const maker = async () => {
    while (!replaced) {
      const { stdout, stderr } = await tryKubectl(['-n', NAMESPACE, ...make], JSON.stringify(pod));
      found.set(stdout + stderr, (found.get(stdout + stderr) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 3 }, maker));
  await done;
  t.same([...found.keys()], ['sidelock'], `each of ${[...found.values()].join(' and ')}`);
});

t.test('plain Deployments in a labelled namespace come up with sidecars, and call each other by mTLS', async (t) => {
  const inbound = { inbound: '8443:8080', allow: 'web', protocol: 'http' };
  const given = list([
    ...['orders', 'web', 'open'].map((name) => serviceAccount(NAMESPACE, name)),
    service(NAMESPACE, 'orders', 8443),
    service(NAMESPACE, 'open', 8443),
    deployment(NAMESPACE, {
      name: 'orders',
      script: ECHO_APP,
      serviceAccount: 'orders',
      annotations: inbound,
      more: PROBED,
    }),
    deployment(NAMESPACE, {
      name: 'open',
      script: ECHO_APP,
      serviceAccount: 'open',
      annotations: { ...inbound, mode: 'permissive' },
    }),
    deployment(NAMESPACE, { name: 'web', script: WEB_APP, serviceAccount: 'web', annotations: UPSTREAMS }),
    deployment(NAMESPACE, {
      name: 'load',
      script: IDLE_APP,
      serviceAccount: 'web',
      annotations: { ...UPSTREAMS, protocol: 'http' },
    }),
    deployment(NAMESPACE, { name: 'wrong', script: IDLE_APP, annotations: { inbounds: '1:2' } }),
    { ...deployment(NAMESPACE, { name: 'legacy', script: IDLE_APP, labels: { [LABEL]: 'disabled' } }) },
  ]);
  await kubectl(['apply', '-f', '-'], given);
  await ready(NAMESPACE, 'orders', 'web', 'load', 'open', 'wrong', 'legacy');
  for (const app of ['orders', 'web', 'open']) t.equal(await sidecarsOf(app), 'sidelock', app);
  for (const app of ['wrong', 'legacy']) t.equal(await sidecarsOf(app), '', app);

  t.match(await run(NAMESPACE, 'deploy/web', 'app', CALL_ORDERS), `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`);
  const show = `fetch('http://127.0.0.1:15020/connections').then(async (r) => console.log(await r.text()))`;
  for (const [pod, peer] of [
    ['web', 'orders'],
    ['orders', 'web'],
  ]) {
    await until(async () => {
      const [open] = JSON.parse(await run(NAMESPACE, `deploy/${pod}`, 'sidelock', show));
      return open?.peer?.id === `spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/${peer}` && open.tls.version === 'TLSv1.3';
    });
    t.pass(`the sidecar of ${pod} shows its connection with ${peer}`);
  }
});

t.test('a pod without a sidecar is refused in strict mode, and served and reported in permissive', async (t) => {
  const plain = (name: string) =>
    `fetch('http://${host(name)}').then((r) => console.log('in', r.status), (e) => console.log(e.cause.code))`;
  t.match(await run(NAMESPACE, 'deploy/legacy', 'app', plain('orders')), /^(?:ECONNRESET|UND_ERR_SOCKET)$/m);
  t.match(await run(NAMESPACE, 'deploy/legacy', 'app', plain('open')), /^in 200$/m);
  const show = `fetch('http://127.0.0.1:15020/plaintext').then(async (r) => console.log(await r.text()))`;
  const address = await inNamespace('get', 'pods', '-l', 'app=legacy', '-o', 'jsonpath={.items[0].status.podIP}');
  t.match(await run(NAMESPACE, 'deploy/open', 'sidelock', show), address);
});

t.test('who gets no sidecar is told why: by an Event on the owner, and by a warning', async (t) => {
  const events = await inNamespace('get', 'events', '--field-selector=reason=InjectionRefused', '-o', 'json');
  t.match(JSON.parse(events), {
    items: [{ involvedObject: { kind: 'ReplicaSet' }, message: /there is no such annotation/ }],
  });
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    ...template({ name: 'bare', script: IDLE_APP, annotations: { mode: 'half' } }),
  };
  const named = { ...pod, metadata: { ...pod.metadata, name: 'bare', namespace: NAMESPACE } };
  const { stderr } = await tryKubectl(['apply', '--dry-run=server', '-f', '-'], JSON.stringify(named));
  t.match(stderr, /Warning: sidelock: no sidecar \(invalid-annotation\)/);
});

t.test('a pod that is deleted under load loses no request', async (t) => {
  await inNamespace('scale', 'deployment/orders', '--replicas=2');
  await ready(NAMESPACE, 'orders');
  const load = run(NAMESPACE, 'deploy/load', 'app', LOAD);
  const [doomed = ''] = (await inNamespace('get', 'pods', '-l', 'app=orders', '-o', 'name')).split('\n');
  await sleep(1_000);
  await inNamespace('delete', doomed, '--wait=true');
  await run(NAMESPACE, 'deploy/load', 'app', `fetch('http://127.0.0.1:7777')`);
  const { sent, failed, pods } = JSON.parse(await load);
  t.same(failed, {}, `none of ${sent} failed`);
  t.ok(sent > 100 && pods > 0, `${sent} requests to ${pods} pods`);
});

t.test('a Job with a sidecar completes', async (t) => {
  const { metadata, spec } = template({
    name: 'web',
    script: CALL_ORDERS,
    serviceAccount: 'web',
    annotations: UPSTREAMS,
  });
  const pod = { metadata: { ...metadata, labels: {} }, spec: { ...spec, restartPolicy: 'Never' } };
  const job = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'report', namespace: NAMESPACE },
    spec: { backoffLimit: 0, template: pod },
  };
  await kubectl(['apply', '-f', '-'], JSON.stringify(job));
  await inNamespace('wait', '--for=condition=complete', 'job/report', '--timeout=60s');
  t.match(await inNamespace('logs', 'job/report', '-c', 'app'), /^200 /);
});

t.test(
  'the bundle of the webhook comes back whoever overwrites it, and a CA that is deleted is made anew',
  async (t) => {
    const read = () => kubectl(['get', CONFIGURATION, '-o', 'jsonpath={.webhooks[*].clientConfig.caBundle}']);
    const before = await read();
    const [first = '', second] = before.split(' ');
    t.equal(first, second);
    const other = [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }];
    await kubectl(['patch', CONFIGURATION, '--type=json', '-p', JSON.stringify(other)]);
    await until(async () => (await read()) === before);
    const upgraded = await helm(
      'upgrade',
      'sidelock',
      CHART,
      '-n',
      SYSTEM,
      '--reuse-values',
      '--set',
      'webhook.timeoutSeconds=4',
    );
    t.equal(upgraded.code, 0, upgraded.stderr);
    t.equal(await kubectl(['get', CONFIGURATION, '-o', 'jsonpath={.webhooks[0].timeoutSeconds}']), '4');
    t.equal(await read(), before, 'an upgrade leaves it alone');

    await kubectl(['-n', SYSTEM, 'delete', 'secret', 'sidelock-webhook-ca']);
    await until(async () => {
      const now = await read();
      return now !== before && now !== '';
    });
    await inNamespace('delete', 'pod', '-l', 'app=web', '--wait=false');
    await until(async () => {
      await inNamespace('delete', 'pod', 'again', '--ignore-not-found');
      const made = template({ name: 'again', script: IDLE_APP, serviceAccount: 'web', annotations: UPSTREAMS });
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        ...made,
        metadata: { ...made.metadata, name: 'again', namespace: NAMESPACE },
      };
      await kubectl(['apply', '-f', '-'], JSON.stringify(pod));
      return (await sidecarsOf('again')) === 'sidelock';
    });
    t.pass('pods get sidecars under the new CA');
  },
);

t.test('without a webhook pods come without sidecar under Ignore, and not at all under Fail', async (t) => {
  await kubectl(['-n', SYSTEM, 'scale', 'deployment/sidelock-webhook', '--replicas=0']);
  await kubectl([
    '-n',
    SYSTEM,
    'wait',
    '--for=delete',
    'pod',
    '-l',
    'app.kubernetes.io/component=webhook',
    '--timeout=60s',
  ]);
  const pod = (name: string) => {
    const made = template({ name, script: IDLE_APP, serviceAccount: 'web', annotations: UPSTREAMS });
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      ...made,
      metadata: { ...made.metadata, name, namespace: NAMESPACE },
    });
  };
  await kubectl(['apply', '-f', '-'], pod('ignored'));
  t.equal(await sidecarsOf('ignored'), '');
  const fail = [0, 1].map((at) => ({ op: 'replace', path: `/webhooks/${at}/failurePolicy`, value: 'Fail' }));
  await kubectl(['patch', CONFIGURATION, '--type=json', '-p', JSON.stringify(fail)]);
  await until(async () => (await tryKubectl(['apply', '--dry-run=server', '-f', '-'], pod('failed'))).code !== 0);
  const { stderr } = await tryKubectl(['apply', '-f', '-'], pod('failed'));
  t.match(stderr, /failed calling webhook/);
});

t.test('uninstall waits for the last pod with a sidecar, and leaves nothing', async (t) => {
  const running = startCli(['uninstall', '--wait', '--yes'], { env: { KUBECONFIG: ADMIN_KUBECONFIG } });
  await running.saw(/still depend on it/);
  await kubectl(['label', 'namespace', NAMESPACE, `${LABEL}-`]);
  for (const name of ['load', 'open']) await inNamespace('rollout', 'restart', `deployment/${name}`);
  // These are not for a life without: the one listens on loopback alone, the other has an upstream.
  await inNamespace('delete', 'deployment/orders', 'deployment/web');
  await inNamespace('delete', 'pods', '--field-selector=status.phase!=Running', '--wait=false');
  await inNamespace('delete', 'pod', 'again', '--ignore-not-found', '--wait=false');
  const { code, stdout, stderr } = await running.ended;
  t.equal(code, 0, stderr);
  t.match(stdout, /nothing of sidelock is left/);
  const everywhere = 'mutatingwebhookconfigurations,clusterroles,clusterrolebindings';
  t.notMatch(await kubectl(['get', everywhere, '-o', 'name']), /sidelock/);
  const inside = 'pods,deployments,services,secrets,roles,rolebindings,serviceaccounts,persistentvolumeclaims';
  t.notMatch(await kubectl(['-n', SYSTEM, 'get', inside, '-o', 'name']), /sidelock/);
  t.equal((await helm('list', '-A', '-q')).stdout, '');
  await ready(NAMESPACE, 'load');
});
