import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { cli, shortDirectory, startProgram } from '../support/cli.ts';
import { accountKubeconfig } from './account.ts';
import { ISTIO } from './istio.ts';
import { kubectl } from './kubectl.ts';
import { deployment, freshNamespace, IDLE_APP, list, serviceAccount } from './pods.ts';

const NAMESPACES = ['guide-a', 'guide-b'];
const directory = shortDirectory(t);
const names = ISTIO.map(({ metadata }) => `crd/${metadata.name}`);
async function account(): Promise<string> {
  const [home = ''] = NAMESPACES;
  const rbac = 'rbac.authorization.k8s.io';
  // What the installation gives its manager in each of these, given to another account.
  const printed = parseAllDocuments((await cli(['install', '--integrate', NAMESPACES.join()])).stdout);
  const { rules } = printed.map((one) => one.toJS()).find(({ metadata: { namespace } }) => namespace === home);
  const roles = NAMESPACES.flatMap((namespace) => [
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name: 'guide', namespace }, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'guide', namespace },
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'guide' },
      subjects: [{ kind: 'ServiceAccount', name: 'guide', namespace: home }],
    },
  ]);
  await kubectl(['apply', '-f', '-'], list([serviceAccount(home, 'guide'), ...roles]));
  return await accountKubeconfig(home, 'guide', join(directory, 'kubeconfig'));
}

t.before(async () => {
  await kubectl(['delete', '--ignore-not-found', ...names]);
  await Promise.all(NAMESPACES.map((name) => freshNamespace(name)));
});
t.teardown(async () => {
  await kubectl(['delete', '--ignore-not-found', ...names]);
  await kubectl(['delete', 'namespace', '--wait=false', ...NAMESPACES]);
});

const bootstrap = async (KUBECONFIG: string, ...flags: readonly string[]) => {
  const config = ['--config', join(directory, 'manager.yaml'), '--storage', join(directory, 'pki'), '-o', 'json'];
  const env = { KUBECONFIG, MTLS_CA_KEY_SIZE: '2048' };
  const { code, stdout, stderr } = await cli(['kubernetes', 'bootstrap', ...config, ...flags], { env });
  if (code !== 0) throw new Error(stderr);
  const { objects }: { objects: Array<{ kind: string; namespace: string; outcome: string }> } = JSON.parse(stdout);
  return objects.map(({ kind, namespace, outcome }) => `${kind} ${namespace} ${outcome}`);
};

t.test('bootstrap, with and without Istio, in two namespaces, again, and by the library', async (t) => {
  writeFileSync(
    join(directory, 'manager.yaml'),
    `kind: Manager\nservices:\n  - { name: orders, namespace: guide-a }\n  - { name: web, namespace: guide-b }\n`,
  );
  await kubectl(['apply', '-f', '-'], list([deployment('guide-a', { name: 'orders', script: IDLE_APP })]));
  const KUBECONFIG = await account();
  t.same(await bootstrap(KUBECONFIG), [
    'Secret guide-a created',
    'Deployment guide-a updated',
    'Istio guide-a absent',
    'Secret guide-b created',
    'Deployment guide-b absent',
    'Istio guide-b absent',
  ]);
  const path = 'jsonpath={.spec.template.spec.containers[0]}';
  const container = JSON.parse(await kubectl(['-n', 'guide-a', 'get', 'deployment/orders', '-o', path]));
  t.match(container, {
    env: [{ name: 'MTLS_CERT_FILE', value: '/etc/ssl/ai-teddy/orders/cert.pem' }, {}, {}],
    volumeMounts: [{ mountPath: '/etc/ssl/ai-teddy/orders' }],
  });

  await kubectl(['apply', '-f', '-'], list(ISTIO));
  await kubectl(['wait', '--for=condition=established', '--timeout=60s', ...names]);
  t.match(await bootstrap(KUBECONFIG, '--dry-run'), [
    'Secret guide-a unchanged',
    'Deployment guide-a unchanged',
    'PeerAuthentication guide-a created',
  ]);
  t.equal(await kubectl(['get', 'peerauthentications', '-A', '-o', 'name']), '', 'a dry run writes nothing');
  await bootstrap(KUBECONFIG);
  t.match(await kubectl(['-n', 'guide-b', 'get', 'destinationrule/web-mtls', '-o', 'yaml']), /mode: ISTIO_MUTUAL/);
  const again = await bootstrap(KUBECONFIG);
  t.notOk(
    again.some((line) => /created|updated/.test(line)),
    again.join(),
  );

  const script = join(directory, 'orchestrator.ts');
  const index = join(import.meta.dirname, '../../src/index.ts');
  writeFileSync(
    script,
    `import { getMtlsManager, getMtlsOrchestrator } from ${JSON.stringify(index)};
await using manager = await getMtlsManager({ storagePath: ${JSON.stringify(join(directory, 'pki'))} });
const services = [{ serviceName: 'orders', namespace: 'guide-a' }, { serviceName: 'web', namespace: 'guide-b' }];
const orchestrator = await getMtlsOrchestrator({ storagePath: manager.store.storagePath, services });
console.log(await orchestrator.bootstrapClusterMtls());
const { outcome } = await orchestrator.k8sIntegration.deployCertificateAsSecret({ serviceName: 'orders', namespace: 'guide-a' });
console.log(outcome);
`,
  );
  const ran = await startProgram(process.execPath, [script], { env: { KUBECONFIG } }).ended;
  t.equal(ran.stdout, 'false\nunchanged\n', ran.stderr);
  const theirs = await kubectl([
    '-n',
    'guide-a',
    'get',
    'secrets',
    '-l',
    'certificate.ai-teddy.com/managed-by=mtls-manager',
    '-o',
    'name',
  ]);
  t.equal(theirs, 'secret/orders-mtls-certs\n', "the guide's kubectl line finds it");
});
