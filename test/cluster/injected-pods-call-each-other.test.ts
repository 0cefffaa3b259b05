import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory } from '../support/cli.ts';
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
  template,
} from './pods.ts';
import { importSidecarImage, SIDECAR_IMAGE } from './sidecar-image.ts';
import { ADMIN_KUBECONFIG } from './state.ts';

const NAMESPACE = 'shop';
const ORDERS = { service: 'orders', inbound: '8443:8080', allow: 'web, report', protocol: 'http' };
const UPSTREAM = { upstreams: `orders.${NAMESPACE}.svc.cluster.local:8443=orders`, protocol: 'http' };

/** What `sidelock inject` makes of the objects. */
async function injected(objects: readonly object[]): Promise<string> {
  const { code, stdout, stderr } = await cli(['inject', '--image', SIDECAR_IMAGE, '-'], { stdin: list(objects) });
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

t.before(async () => {
  importSidecarImage(programs());
  await freshNamespace(NAMESPACE);
});

t.teardown(() => kubectl(['delete', 'namespace', NAMESPACE, '--wait=false']));

t.test('each service has its Secret', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  for (const service of ['orders', 'web', 'thief', 'report']) {
    const args = ['--service', service, '--namespace', NAMESPACE, '--storage', storage];
    const made = await cli(['kubernetes', 'secret', ...args], { env: { KUBECONFIG: ADMIN_KUBECONFIG } });
    t.equal(made.code, 0, made.stderr);
  }
});

t.test('what inject prints passes the API server, and its pods become ready under restricted', async (t) => {
  const manifests = await injected([
    service(NAMESPACE, 'orders', 8443),
    deployment(NAMESPACE, { name: 'orders', script: ECHO_APP, annotations: ORDERS }),
    deployment(NAMESPACE, { name: 'web', script: IDLE_APP, annotations: { service: 'web', ...UPSTREAM } }),
    deployment(NAMESPACE, { name: 'thief', script: IDLE_APP, annotations: { service: 'thief', ...UPSTREAM } }),
  ]);
  const checked = await tryKubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], manifests);
  t.equal(checked.code, 0, checked.stderr);
  t.notMatch(checked.stderr, /Warning/, 'Pod Security has nothing to say');
  await kubectl(['apply', '-f', '-'], manifests);
  await ready(NAMESPACE, 'orders', 'web', 'thief');
});

t.test('one app calls the other through both sidecars, by mTLS', async (t) => {
  const answer = await run(NAMESPACE, 'deploy/web', 'app', CALL_ORDERS);
  t.match(answer, /^200 /);
  t.match(answer, `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`, 'the app is told who called');
  const identity = await run(
    NAMESPACE,
    'deploy/orders',
    'sidelock',
    `fetch('http://127.0.0.1:15020/identity').then(async (r) => console.log(await r.text()))`,
  );
  t.match(JSON.parse(identity), { spiffeId: `spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/orders` });
  const links = await run(
    NAMESPACE,
    'deploy/web',
    'sidelock',
    `fetch('http://127.0.0.1:15020/metrics').then(async (r) => console.log(await r.text()))`,
  );
  t.match(links, /^sidelock_/m);
});

t.test('an app that calls its upstream by name as ever is led through its sidecar', async (t) => {
  const upstreams = { upstreams: '80:orders:8443=orders', 'host-aliases': 'true', protocol: 'http' };
  await kubectl(
    ['apply', '-f', '-'],
    await injected([
      deployment(NAMESPACE, { name: 'unchanged', script: IDLE_APP, annotations: { service: 'web', ...upstreams } }),
    ]),
  );
  await ready(NAMESPACE, 'unchanged');
  for (const host of ['orders', `orders.${NAMESPACE}`, `orders.${NAMESPACE}.svc.cluster.local`]) {
    const call = `fetch('http://${host}/').then(async (r) => console.log(r.status, await r.text()), (e) => console.log(e.cause.code))`;
    t.match(
      await run(NAMESPACE, 'deploy/unchanged', 'app', call),
      `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`,
      host,
    );
  }
  const elsewhere = `fetch('http://orders:8443/').catch((e) => console.log(e.cause.code))`;
  t.match(await run(NAMESPACE, 'deploy/unchanged', 'app', elsewhere), /^ECONNREFUSED$/m, 'no port leads past it');
});

t.test('a service that is not in allow gets nothing, and neither does a pod that speaks plaintext', async (t) => {
  t.match(await run(NAMESPACE, 'deploy/thief', 'app', CALL_ORDERS), /^502 /);
  const log = await kubectl(['-n', NAMESPACE, 'logs', 'deploy/orders', '-c', 'sidelock']);
  t.match(log, `spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/thief`, 'the refusal names the caller');
  const address = `http://orders.${NAMESPACE}.svc.cluster.local:8443`;
  const plain = `fetch('${address}').then(() => console.log('in'), (e) => console.log(e.cause.code))`;
  t.match(await run(NAMESPACE, 'deploy/web', 'app', plain), /^(?:ECONNRESET|UND_ERR_SOCKET)$/m);
});

t.test('the app of a Job finds its sidecar at its first instruction, and the Job completes', async () => {
  const report = template({ name: 'report', script: CALL_ORDERS, annotations: { service: 'report', ...UPSTREAM } });
  const job = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'report', namespace: NAMESPACE },
    spec: { backoffLimit: 0, template: { ...report, spec: { ...report.spec, restartPolicy: 'Never' } } },
  };
  await kubectl(['apply', '-f', '-'], await injected([job]));
  await kubectl(['-n', NAMESPACE, 'wait', '--for=condition=complete', 'job/report', '--timeout=120s']);
  const log = await kubectl(['-n', NAMESPACE, 'logs', 'job/report', '-c', 'app']);
  if (!log.startsWith('200 ')) throw new Error(log);
});
