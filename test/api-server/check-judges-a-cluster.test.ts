import t from 'tap';
import { startApiServer } from '../cluster/api-server.ts';
import { list } from '../cluster/pods.ts';
import { cli } from '../support/cli.ts';

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
  const report = async (...args: string[]) => {
    const { stdout, stderr, code } = await cli(['check', '--kubernetes', '-o', 'json', ...args], { env });
    if (stdout === '') throw new Error(stderr);
    const { items }: { items: Item[] } = JSON.parse(stdout);
    return { code, bad: items.filter(({ status }) => status !== 'ok'), ids: items.map(({ id }) => id) };
  };
  t.match(await report('--pre'), { code: 0, bad: [], ids: ['cluster.version', 'cluster.rights'] });
  t.match(await report(), { code: 1, bad: [{ id: 'cluster.webhook', fix: /sidelock install/ }] });

  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'ops' } });
  await api.must('POST', '/api/v1/namespaces/ops/serviceaccounts', { metadata: { name: 'dev' } });
  const poor = { KUBECONFIG: api.kubeconfig({ token: await api.tokenOf('ops', 'dev') }) };
  const denied = await cli(['check', '--kubernetes', '--pre', '--only', 'cluster.rights'], { env: poor });
  t.match(denied, { code: 1, stdout: /you may not create mutatingwebhookconfigurations\.admissionregistration/ });
  t.match(denied.stdout, /you may not patch networkpolicies\.networking\.k8s\.io in namespace sidelock-system/);

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
  const { items: kept } = (await api.must('GET', '/api/v1/namespaces/shop/pods')) as { items: object[] };
  t.equal(kept.length, 4, 'the pod that was tried is not there');
});

t.test('a cluster that cannot be reached', async (t) => {
  const env = { KUBECONFIG: '/nonexistent' };
  t.match(await cli(['check', '--kubernetes'], { env }), { code: 1, stderr: /SL-KUBE-001/ });
});
