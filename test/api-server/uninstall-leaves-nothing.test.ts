import t from 'tap';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { deployment, IDLE_APP, list } from '../cluster/pods.ts';
import { cli, startCli } from '../support/cli.ts';

const DOMAIN = 'certificate.ai-teddy.com';
const OURS = { [`${DOMAIN}/managed-by`]: 'mtls-manager' };

/** A pod as a ReplicaSet made it, with a sidecar in it. */
function pod(name: string): object {
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-6d4b75cb6d', uid: 'r1', controller: true };
  const containers = [{ name: 'app', image: 'app:1' }];
  const initContainers = [{ name: 'sidelock', image: 'sidecar:1', restartPolicy: 'Always' }];
  const metadata = { name, namespace: 'shop', ownerReferences: [owner] };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, initContainers } };
}

/** What the controllers of a whole cluster do when nothing holds an object any more. */
async function finalize(api: ApiServer): Promise<void> {
  const claim = '/api/v1/namespaces/sidelock-system/persistentvolumeclaims/sidelock-manager';
  const patch = { metadata: { finalizers: null } };
  await api.ask('PATCH', claim, patch, { type: 'application/merge-patch+json' });
  const { status, body } = await api.ask('GET', '/api/v1/namespaces/sidelock-system');
  if (status !== 200 || (body['status'] as { phase: string }).phase !== 'Terminating') return;
  await api.must('PUT', '/api/v1/namespaces/sidelock-system/finalize', { ...body, spec: { finalizers: [] } });
}

t.test('uninstall names who depends and how that ends, waits for them, and leaves nothing', async (t) => {
  const api = await startApiServer(t);
  const env = { KUBECONFIG: api.kubeconfig() };
  const installed = (await cli(['install', '--integrate', 'shop'])).stdout;
  t.notMatch(installed, /finalizers|CustomResourceDefinition/);
  const metadata = { name: 'shop', labels: { [`${DOMAIN}/inject`]: 'enabled' } };
  await api.must('POST', '/api/v1/namespaces', { metadata });
  await api.kubectl(['apply', '-f', '-'], installed);
  await api.must('POST', '/api/v1/namespaces/shop/serviceaccounts', { metadata: { name: 'default' } });
  const secret = { apiVersion: 'v1', kind: 'Secret' };
  const mounts = deployment('shop', { name: 'orders', script: IDLE_APP });
  const spec = { ...mounts.spec.template.spec, volumes: [{ name: 'c', secret: { secretName: 'orders-mtls-certs' } }] };
  const mounting = { ...mounts, spec: { ...mounts.spec, template: { ...mounts.spec.template, spec } } };
  await api.kubectl(
    ['apply', '-f', '-'],
    list([
      pod('web-6d4b75cb6d-x'),
      mounting,
      { ...secret, metadata: { name: 'orders-mtls-certs', namespace: 'shop', labels: OURS } },
      { ...secret, metadata: { name: 'theirs', namespace: 'shop' } },
      { ...secret, metadata: { name: 'sidelock-webhook-ca', namespace: 'sidelock-system', labels: OURS } },
    ]),
  );

  const looked = await cli(['uninstall'], { env });
  t.equal(looked.code, 0, looked.stderr);
  for (const line of [
    `kubectl label namespace shop ${DOMAIN}/inject-`,
    'kubectl -n shop rollout restart deployment/web',
    'take the volume with Secret orders-mtls-certs out of deployment/orders',
    'mutatingwebhookconfigurations sidelock-webhook',
    'namespaces sidelock-system',
  ]) {
    t.match(looked.stdout, line);
  }
  t.equal((await cli(['uninstall', '--wait'], { env })).code, 2, 'not without being asked');
  t.match(await api.kubectl(['get', 'mutatingwebhookconfigurations', '-o', 'name']), 'sidelock-webhook');

  const short = await cli(['uninstall', '--wait', '--yes', '--timeout', '1s', '-o', 'json'], { env });
  t.match(JSON.parse(short.stderr), { error: { code: 'SL-KUBE-005', why: /rollout restart deployment\/web/ } });
  t.equal(
    await api.kubectl(['get', 'mutatingwebhookconfigurations', '-o', 'name']),
    '',
    'but new pods get no sidecars any more',
  );
  t.match(await api.kubectl(['-n', 'sidelock-system', 'get', 'deployments', '-o', 'name']), 'sidelock-manager');

  const running = startCli(['uninstall', '--wait', '--yes', '--timeout', '60s'], { env });
  await running.saw(/3 still depend/);
  await api.kubectl(['label', 'namespace', 'shop', `${DOMAIN}/inject-`]);
  await api.kubectl(['-n', 'shop', 'delete', 'deployment/orders', 'pod/web-6d4b75cb6d-x', '--wait=false']);
  const finalizing = setInterval(() => finalize(api).catch(() => {}), 200);
  t.teardown(() => clearInterval(finalizing));
  const { code, stdout, stderr } = await running.ended;
  t.equal(code, 0, stderr);
  t.match(stdout, /nothing of sidelock is left/);
  clearInterval(finalizing);

  t.match((await cli(['uninstall'], { env })).stdout, /^nothing of sidelock is here/);
  const everything = await api.kubectl([
    ...['get', '-A', '-o', 'name'],
    'namespaces,secrets,configmaps,serviceaccounts,services,deployments,clusterroles,clusterrolebindings,roles,pvc',
  ]);
  t.notMatch(everything, /sidelock|mtls-certs/);
  t.match(everything, 'secret/theirs', "what is somebody else's is left alone");
});
