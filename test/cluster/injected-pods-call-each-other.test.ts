import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory } from '../support/cli.ts';
import { kubectl, programs, tryKubectl } from './kubectl.ts';
import { importSidecarImage, NODE, SIDECAR_IMAGE } from './sidecar-image.ts';
import { ADMIN_KUBECONFIG } from './state.ts';

const NAMESPACE = 'shop';
const DOMAIN = 'certificate.ai-teddy.com';
const RESTRICTED = {
  runAsNonRoot: true,
  runAsUser: 10_001,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
/** Says who called, and listens where nobody but its sidecar comes. */
const ORDERS_APP = `require('node:http').createServer((q, r) => r.end(JSON.stringify(q.headers))).listen(8080, '127.0.0.1'); process.on('SIGTERM', () => process.exit(0))`;
const IDLE_APP = 'setInterval(() => {}, 1e6); process.on("SIGTERM", () => process.exit(0))';
const UPSTREAM = { upstreams: `orders.${NAMESPACE}.svc.cluster.local:8443=orders`, protocol: 'http' };

function template(name: string, script: string, annotations: Readonly<Record<string, string>>) {
  return {
    metadata: {
      labels: { app: name },
      annotations: Object.fromEntries(
        Object.entries({ service: name, ...annotations }).map(([key, value]) => [`${DOMAIN}/${key}`, value]),
      ),
    },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 5,
      containers: [{ name: 'app', image: SIDECAR_IMAGE, command: [NODE, '-e', script], securityContext: RESTRICTED }],
    },
  };
}

function deployment(name: string, script: string, annotations: Readonly<Record<string, string>>) {
  const spec = { selector: { matchLabels: { app: name } }, template: template(name, script, annotations) };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: NAMESPACE }, spec };
}

/** What `sidelock inject` makes of the objects. */
async function injected(objects: readonly object[]): Promise<string> {
  const stdin = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  const { code, stdout, stderr } = await cli(['inject', '--image', SIDECAR_IMAGE, '-'], { stdin });
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

/** Runs a few lines in a container of a workload and gives what they print. */
function run(workload: string, container: string, script: string): Promise<string> {
  return kubectl(['-n', NAMESPACE, 'exec', workload, '-c', container, '--', NODE, '-e', script]);
}

const CALL = `fetch(process.env.ORDERS_MTLS_URL).then(async (r) => console.log(r.status, await r.text()))`;

t.before(async () => {
  importSidecarImage(programs());
  await kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s']);
  await kubectl(['create', 'namespace', NAMESPACE]);
  await kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
});

t.teardown(() => kubectl(['delete', 'namespace', NAMESPACE, '--timeout=120s']));

t.test('each service has its Secret', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  for (const service of ['orders', 'web', 'thief', 'report']) {
    const args = ['--service', service, '--namespace', NAMESPACE, '--storage', storage];
    const made = await cli(['kubernetes', 'secret', ...args], { env: { KUBECONFIG: ADMIN_KUBECONFIG } });
    t.equal(made.code, 0, made.stderr);
  }
});

t.test('what inject prints passes the API server, and its pods become ready under restricted', async (t) => {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'orders', namespace: NAMESPACE },
    spec: { selector: { app: 'orders' }, ports: [{ port: 8443, targetPort: 8443 }] },
  };
  const manifests = await injected([
    service,
    deployment('orders', ORDERS_APP, { inbound: '8443:8080', allow: 'web, report', protocol: 'http' }),
    deployment('web', IDLE_APP, UPSTREAM),
    deployment('thief', IDLE_APP, UPSTREAM),
  ]);
  const checked = await tryKubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], manifests);
  t.equal(checked.code, 0, checked.stderr);
  t.notMatch(checked.stderr, /Warning/, 'Pod Security has nothing to say');
  await kubectl(['apply', '-f', '-'], manifests);
  for (const name of ['orders', 'web', 'thief']) {
    await kubectl(['-n', NAMESPACE, 'rollout', 'status', `deployment/${name}`, '--timeout=120s']);
  }
});

t.test('one app calls the other through both sidecars, by mTLS', async (t) => {
  const answer = await run('deploy/web', 'app', CALL);
  t.match(answer, /^200 /);
  t.match(answer, `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`, 'the app is told who called');
  const identity = await run(
    'deploy/orders',
    'sidelock',
    `fetch('http://127.0.0.1:15020/identity').then(async (r) => console.log(await r.text()))`,
  );
  t.match(JSON.parse(identity), { spiffeId: `spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/orders` });
  const links = await run(
    'deploy/web',
    'sidelock',
    `fetch('http://127.0.0.1:15020/metrics').then(async (r) => console.log(await r.text()))`,
  );
  t.match(links, /^sidelock_/m);
});

t.test('a service that is not in allow gets nothing, and neither does a pod that speaks plaintext', async (t) => {
  t.match(await run('deploy/thief', 'app', CALL), /^502 /);
  const log = await kubectl(['-n', NAMESPACE, 'logs', 'deploy/orders', '-c', 'sidelock']);
  t.match(log, `spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/thief`, 'the refusal names the caller');
  const address = `http://orders.${NAMESPACE}.svc.cluster.local:8443`;
  const plain = `fetch('${address}').then(() => console.log('in'), (e) => console.log(e.cause.code))`;
  t.match(await run('deploy/web', 'app', plain), /^(?:ECONNRESET|UND_ERR_SOCKET)$/m);
});

t.test('the app of a Job finds its sidecar at its first instruction, and the Job completes', async () => {
  const report = template('report', CALL, UPSTREAM);
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
