import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { installed, installManifests, makeVolume, SYSTEM } from './install.ts';
import { kubectl, programs, tryKubectl } from './kubectl.ts';
import {
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

const NAMESPACE = 'hooked';
const LABEL = 'certificate.ai-teddy.com/inject';
const CONFIGURATION = 'mutatingwebhookconfiguration/sidelock-webhook';
const host = (name: string) => `${name}.${NAMESPACE}.svc.cluster.local:8443`;
const PROBED = { readinessProbe: { periodSeconds: 1, httpGet: { path: '/ready', port: 8080 } } };
const UPSTREAMS = { upstreams: `${host('orders')}=orders` };
const CALL = `fetch('http://127.0.0.1:' + process.env.ORDERS_MTLS_PORT).then(async (r) => console.log(r.status, await r.text()))`;
/** Keeps a connection open, so that there is one to be seen. */
const WEB_APP = `(function call() {
  const socket = require('node:net').connect(process.env.ORDERS_MTLS_PORT, '127.0.0.1');
  socket.write('GET / HTTP/1.1\\r\\nhost: orders\\r\\n\\r\\n');
  socket.on('data', () => {}).on('error', () => {}).on('close', () => setTimeout(call, 200));
})(); process.on('SIGTERM', () => process.exit(0))`;

const inNamespace = (...args: readonly string[]) => kubectl(['-n', NAMESPACE, ...args]);

/** Asks until it is so; the caller's limit is that of the test. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(250);
}

/** The init containers of the newest pod of an app. */
async function sidecarsOf(app: string): Promise<string> {
  const path = 'jsonpath={.items[*].spec.initContainers[*].name}';
  return await inNamespace('get', 'pods', '-l', `app=${app}`, '-o', path);
}

t.before(async () => {
  importSidecarImage(programs());
  await kubectl(['delete', 'namespace', SYSTEM, '--ignore-not-found', '--timeout=60s']);
  await makeVolume();
  await freshNamespace(NAMESPACE, [`${LABEL}=enabled`]);
});

t.teardown(async () => {
  await kubectl(['delete', '--ignore-not-found', '--wait=false', CONFIGURATION, 'persistentvolume/sidelock-manager']);
  await kubectl(['delete', 'namespace', '--ignore-not-found', '--wait=false', NAMESPACE, SYSTEM]);
});

t.test('what install prints passes the API server without a warning, and becomes ready', async (t) => {
  const manifests = await installManifests();
  const applied = await tryKubectl(['apply', '--validate=strict', '-f', '-'], manifests);
  t.equal(applied.code, 0, applied.stderr);
  t.notMatch(applied.stderr, /Warning/);
  await installed();
  for (const name of ['sidelock-manager', 'sidelock-webhook']) {
    t.notMatch(await kubectl(['-n', SYSTEM, 'logs', `deployment/${name}`]), /rights_missing|"level":50/, name);
  }
  const again = await kubectl(['apply', '-f', '-'], manifests);
  t.notMatch(again, /webhook-injects.*configured/, 'and may be applied again');
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
    deployment(NAMESPACE, { name: 'wrong', script: IDLE_APP, annotations: { inbounds: '1:2' } }),
    { ...deployment(NAMESPACE, { name: 'legacy', script: IDLE_APP, labels: { [LABEL]: 'disabled' } }) },
  ]);
  await kubectl(['apply', '-f', '-'], given);
  await ready(NAMESPACE, 'orders', 'web', 'open', 'wrong', 'legacy');
  for (const app of ['orders', 'web', 'open']) t.equal(await sidecarsOf(app), 'sidelock', app);
  for (const app of ['wrong', 'legacy']) t.equal(await sidecarsOf(app), '', app);

  t.match(await run(NAMESPACE, 'deploy/web', 'app', CALL), `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`);
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

t.test('a Job with a sidecar completes', async (t) => {
  const { metadata, spec } = template({ name: 'web', script: CALL, serviceAccount: 'web', annotations: UPSTREAMS });
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
