import t from 'tap';
import { startApiServer } from '../cluster/api-server.ts';
import { list } from '../cluster/pods.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { until } from '../support/until.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const DOMAIN = 'certificate.ai-teddy.com';

interface Item {
  readonly id: string;
  readonly status: string;
  readonly summary: string;
  readonly why?: string;
  readonly fix?: string;
}

function pod(name: string, more: { annotations?: object; labels?: object; sidecar?: boolean } = {}): object {
  const initContainers = more.sidecar === true ? [{ name: 'sidelock', image: 's:1', restartPolicy: 'Always' }] : [];
  const ports = [{ name: 'web', containerPort: 8080 }];
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'shop', annotations: more.annotations, labels: more.labels },
    spec: { containers: [{ name: 'app', image: 'app:1', ports }], initContainers },
  };
}

t.test('check --kubernetes: before installing and after, each fault with what to do', async (t) => {
  const api = await startApiServer(t);
  const env = { KUBECONFIG: api.kubeconfig() };
  const reportTo = async (env: { KUBECONFIG: string }, ...args: string[]) => {
    const { stdout, stderr, code } = await cli(['check', '--kubernetes', '-o', 'json', ...args], { env });
    if (stdout === '') throw new Error(stderr);
    const { items }: { items: Item[] } = JSON.parse(stdout);
    return { code, bad: items.filter(({ status }) => status !== 'ok'), ids: items.map(({ id }) => id) };
  };
  const report = (...args: string[]) => reportTo(env, ...args);
  t.match(await report('--pre'), { code: 0, bad: [], ids: ['cluster.version', 'cluster.rights'] });
  t.match(await report(), { code: 1, bad: [{ id: 'cluster.webhook', fix: /sidelock install/ }] });

  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'ops' } });
  await api.must('POST', '/api/v1/namespaces/ops/serviceaccounts', { metadata: { name: 'dev' } });
  const poor = { KUBECONFIG: api.kubeconfig({ token: await api.tokenOf('ops', 'dev') }) };
  const denied = await cli(['check', '--kubernetes', '--pre', '--only', 'cluster.rights'], { env: poor });
  t.match(denied, { code: 1, stdout: /you may not create mutatingwebhookconfigurations\.admissionregistration/ });
  t.match(denied.stdout, /you may not patch networkpolicies\.networking\.k8s\.io in namespace sidelock-system/);

  const unknown = async () => {
    const { ids, bad } = await reportTo(poor, '--pre', '--only', 'cluster.meshes,cluster.psa');
    return {
      ids,
      bad: bad.map(({ id, status, summary }) => `${status} ${id}: ${summary}`),
      fixes: bad.map((one) => one.fix),
    };
  };
  const before = await unknown();
  t.strictSame(
    before.bad,
    [
      'warning cluster.meshes: not known: you may not list mutatingwebhookconfigurations.admissionregistration.k8s.io',
      'warning cluster.psa: not known: you may not list namespaces',
    ],
    'what was not read is not well',
  );
  t.equal(before.ids.length, 2, 'and nothing else is said of it');
  for (const fix of before.fixes) {
    for (const line of fix?.split('; ') ?? []) {
      await api.kubectl(line.replace('kubectl ', '').replace('NAME', 'system:serviceaccount:ops:dev').split(' '));
    }
  }
  await until(async () => (await unknown()).bad.length === 0, { every: 200 });
  for (const name of ['list-mutatingwebhookconfigurations', 'list-namespaces']) {
    await api.must('DELETE', `${RBAC}/clusterrolebindings/${name}`);
  }
  await until(async () => (await unknown()).bad.length === 2, { every: 200 });

  const installed = (await cli(['install'])).stdout;
  await api.kubectl(['apply', '-f', '-'], installed);
  const labels = { [`${DOMAIN}/inject`]: 'enabled', 'pod-security.kubernetes.io/enforce': 'baseline' };
  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'shop', labels } });
  await api.must('POST', '/api/v1/namespaces/shop/serviceaccounts', { metadata: { name: 'default' } });
  const inbound = { [`${DOMAIN}/inbound`]: '8443:8080', [`${DOMAIN}/allow`]: 'any' };
  await api.kubectl(
    ['apply', '-f', '-'],
    list([
      pod('plain'),
      pod('forgotten', { annotations: inbound }),
      pod('wrong', { annotations: { ...inbound, [`${DOMAIN}/inbund`]: '1:2' } }),
      pod('open', {
        ...{ annotations: { ...inbound, [`${DOMAIN}/mode`]: 'permissive' }, labels: { app: 'open' } },
        sidecar: true,
      }),
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'open', namespace: 'shop' } },
        spec: { selector: { app: 'open' }, ports: [{ port: 80, targetPort: 'web' }] },
      },
      {
        ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration' },
        metadata: { name: 'istio-sidecar-injector' },
        webhooks: [],
      },
      {
        ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls' },
        metadata: { name: 'sidelock-webhook-ca', namespace: 'sidelock-system' },
        stringData: { 'tls.crt': 'x', 'tls.key': 'x', 'ca.crt': 'x' },
      },
    ]),
  );
  const { code, bad } = await report();
  t.equal(code, 1);
  const told = bad.map(({ id, status, summary }) => `${status} ${id}: ${summary}`);
  t.strictSame(told, [
    'info cluster.meshes: another mesh injects here: istio-sidecar-injector',
    'error cluster.webhook: no replica of the webhook is ready',
    'error cluster.bundle: caBundle is not that of the webhook',
    'error cluster.trust: ConfigMap sidelock-system/sidelock-trust has no root',
    'error cluster.injection: a pod in shop would get no sidecar',
    'warning cluster.pods: pod shop/forgotten has no sidecar',
    'warning cluster.pods: pod shop/wrong has no sidecar',
    'error cluster.sidecars: the sidecar of shop/open is not ready',
    'warning cluster.plaintext: shop/open takes callers without TLS',
    'warning cluster.plaintext: Service shop/open leads to port 8080 of the app, past its sidecar',
  ]);
  t.match(bad.find(({ summary }) => summary.includes('shop/wrong'))?.why, /inbund/, 'and why injection refused it');
  t.match(bad.at(-1)?.fix, /targetPort to 8443/);
  for (const { id, fix } of bad) t.match(fix, /./, id);
  const blind = await reportTo(poor);
  t.equal(blind.code, 1);
  t.strictSame(
    blind.bad.map(({ id, summary }) => `${id}: ${summary}`),
    [
      'cluster.rights: you may not list mutatingwebhookconfigurations.admissionregistration.k8s.io',
      'cluster.rights: you may not list namespaces',
      'cluster.rights: you may not get configmaps sidelock-trust in namespace sidelock-system',
    ],
    'the first answers of 403 do not end it',
  );
  t.ok(blind.ids.includes('cluster.version'));
  const rules = [
    { apiGroups: [''], resources: ['namespaces', 'services'], verbs: ['list'] },
    { apiGroups: ['admissionregistration.k8s.io'], resources: ['mutatingwebhookconfigurations'], verbs: ['list'] },
  ];
  await api.must('POST', `${RBAC}/clusterroles`, { metadata: { name: 'half' }, rules });
  await api.must('POST', `${RBAC}/clusterrolebindings`, {
    metadata: { name: 'half' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'half' },
    subjects: [{ kind: 'ServiceAccount', name: 'dev', namespace: 'ops' }],
  });
  const half = await reportTo(poor);
  t.strictSame(
    half.bad.map(({ id, status, summary, why = '' }) => `${status} ${id}: ${summary} (${why.split(' ', 1)[0]})`),
    [
      'info cluster.meshes: another mesh injects here: istio-sidecar-injector (a)',
      'error cluster.rights: you may not list pods in namespace shop (cluster.pods)',
      'error cluster.rights: you may not get configmaps sidelock-trust in namespace sidelock-system (cluster.trust)',
      'info cluster.rights: you may not get secrets sidelock-webhook-ca in namespace sidelock-system (cluster.bundle)',
      'error cluster.rights: you may not list endpointslices.discovery.k8s.io in namespace sidelock-system (cluster.webhook)',
      'error cluster.rights: you may not create pods in namespace shop (cluster.injection)',
    ],
  );
  t.notOk(half.ids.includes('cluster.pods'), 'nothing is said of what was not seen');

  const { items: kept } = (await api.must('GET', '/api/v1/namespaces/shop/pods')) as { items: object[] };
  t.equal(kept.length, 4, 'the pod that was tried is not there');
});

t.test('a cluster that cannot be reached, and none', async (t) => {
  const none = { KUBECONFIG: undefined, HOME: shortDirectory(t), KUBERNETES_SERVICE_HOST: undefined };
  for (const command of [['check', '--kubernetes'], ['uninstall']]) {
    const { code, stderr } = await cli(command, { env: none });
    t.equal(code, 1);
    t.match(stderr, /KUBECONFIG is not set[\s\S]*export KUBECONFIG=[\s\S]*SL-KUBE-001/, command.join(' '));
    t.notMatch(stderr, /8080/, 'nobody asked for that');
  }
  const env = { KUBECONFIG: '/nonexistent' };
  t.match(await cli(['check', '--kubernetes'], { env }), { code: 1, stderr: /SL-KUBE-001/ });
});
