import { realpathSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { cli, shortDirectory } from '../support/cli.ts';
import { CHART, helm } from './helm.ts';
import { kubectl } from './kubectl.ts';

const SYSTEM = 'sidelock-system';
type Manifest = Record<string, unknown> & {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels: Record<string, string>;
    annotations?: Record<string, string>;
  };
};

/** Objects by what they are called, without what only Helm puts on them. */
function objects(yaml: string): Record<string, Manifest> {
  const all = parseAllDocuments(yaml).flatMap((document): Manifest[] => {
    const object = document.toJS() as Manifest | null;
    return object === null || object.kind === 'Namespace' ? [] : [object];
  });
  for (const { metadata } of all) {
    delete metadata.labels['helm.sh/chart'];
    delete metadata.labels['app.kubernetes.io/managed-by'];
    delete metadata.annotations;
  }
  // Of other namespaces than the one it is installed into there may be several of one name.
  const within = (namespace = SYSTEM) => (namespace === SYSTEM ? '' : `/${namespace}`);
  return Object.fromEntries(
    all.map((object) => [`${object.kind}${within(object.metadata.namespace)}/${object.metadata.name}`, object]),
  );
}

const template = (...args: readonly string[]) => helm('template', 'sidelock', CHART, '-n', SYSTEM, ...args);

t.test('the chart, install.yaml by kustomize and sidelock install are the same', async (t) => {
  const printed = objects((await cli(['install'])).stdout);
  t.ok(Object.keys(printed).length > 15);
  const lint = await helm('lint', '--strict', CHART);
  t.equal(lint.code, 0, lint.stdout);
  const rendered = await template();
  t.equal(rendered.code, 0, rendered.stderr);
  t.strictSame(objects(rendered.stdout), printed);
  const kubelet = await template(
    '--set',
    'podCertificates.enabled=true,requireSidecar.enabled=true,kubernetesIntegration.namespaces={shop,ops}',
  );
  t.strictSame(
    objects(kubelet.stdout),
    objects((await cli(['install', '--pod-certificates', '--require-sidecar', '--integrate', 'shop,ops'])).stdout),
  );
  t.strictSame(objects(await kubectl(['kustomize', join(CHART, '..')])), printed);
});

t.test('rights in one more namespace by kustomize are those of the command too', async (t) => {
  const directory = shortDirectory(t);
  const resources = [relative(realpathSync(directory), join(CHART, '../integration'))];
  writeFileSync(join(directory, 'kustomization.yaml'), JSON.stringify({ namespace: 'ops', resources }));
  const own = objects(await kubectl(['kustomize', directory]));
  const printed = objects((await cli(['install', '--integrate', 'ops'])).stdout);
  t.strictSame(Object.keys(own), ['Role/ops/sidelock-integration', 'RoleBinding/ops/sidelock-integration']);
  for (const [name, object] of Object.entries(own)) t.strictSame(object, printed[name], name);
});

t.test('with several managers too', async (t) => {
  const flags = ['--state', 'secrets', '--manager-replicas', '3', '--failure-policy', 'Fail'];
  const printed = objects((await cli(['install', ...flags])).stdout);
  const values = ['--set', 'manager.state=secrets,manager.replicas=3,webhook.failurePolicy=Fail'];
  t.strictSame(objects((await template(...values)).stdout), printed);
  t.notOk('PersistentVolumeClaim/sidelock-manager' in printed);
  t.ok('PodDisruptionBudget/sidelock-manager' in printed);
  const first = objects((await template('--set', 'manager.state=secrets')).stdout);
  t.ok('PersistentVolumeClaim/sidelock-manager' in first, 'the one that takes the state into Secrets has the volume');
  t.strictSame(objects((await cli(['install', '--state', 'secrets'])).stdout), first);
  t.not((await template('--set', 'manager.replicas=3')).code, 0);
  t.equal((await cli(['install', '--manager-replicas', '3'])).code, 2);
});

t.test('values change what they say, and one that is misspelt is refused', async (t) => {
  const high = await template('--values', join(CHART, 'values-ha.yaml'));
  t.match(high.stdout, /failurePolicy: Fail/);
  t.match(high.stdout, /replicas: 3/);
  const digest = `sha256:${'a'.repeat(64)}`;
  const own = await template(
    ...['--set', `image.registry=registry.test,webhook.image.digest=${digest},serviceMonitor.enabled=true`],
    ...['--set', 'networkPolicy.enabled=false,podDisruptionBudget.enabled=false,trustDomain=shop.test'],
    ...[
      '--set',
      'manager.storage.storageClass=fast,manager.extraEnv[0].name=MTLS_LOG_LEVEL,manager.extraEnv[0].value=debug',
    ],
  );
  t.equal(own.code, 0, own.stderr);
  t.match(own.stdout, `image: registry.test/sidelock-sidecar@${digest}`);
  for (const kind of ['ServiceMonitor', 'PodMonitor']) t.match(own.stdout, `kind: ${kind}`);
  for (const kind of ['NetworkPolicy', 'PodDisruptionBudget']) t.notMatch(own.stdout, `kind: ${kind}`);
  t.match(own.stdout, /storageClassName: fast/);
  t.match(own.stdout, /name: MTLS_LOG_LEVEL\n +value: debug/);
  for (const wrong of ['webhook.failurePolicy=Maybe', 'webhok.replicas=2', 'trustDomain=A B', 'webhook.replicas=0']) {
    t.not((await template('--set', wrong)).code, 0, wrong);
  }
});
