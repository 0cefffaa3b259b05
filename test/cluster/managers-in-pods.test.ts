import { join } from 'node:path';
import t from 'tap';
import { CHART, helm, images } from './helm.ts';
import { kubectl, programs } from './kubectl.ts';
import { deployment, freshNamespace, IDLE_APP, list, ready, serviceAccount } from './pods.ts';
import { importSidecarImage, NODE } from './sidecar-image.ts';
import { SYSTEM } from './volume.ts';

const NAMESPACE = 'several';
const MANAGER = 'deployment/sidelock-manager';

const system = (...args: readonly string[]) => kubectl(['-n', SYSTEM, ...args]);

async function uninstall(...flags: readonly string[]): Promise<void> {
  await helm('uninstall', 'sidelock', '-n', SYSTEM, '--ignore-not-found', ...flags);
  await kubectl(['delete', 'namespace', '--ignore-not-found', '--wait=false', NAMESPACE, SYSTEM]);
}

async function leader(): Promise<string> {
  const holder = await system('get', 'lease', 'sidelock-manager', '-o', 'jsonpath={.spec.holderIdentity}');
  return holder.replace(/_[^_]*$/, '');
}

const roots = () => system('get', 'configmap', 'sidelock-trust', '-o', 'jsonpath={.data}');

/** A pod that waits for its certificate, and is ready with it. */
async function comesUp(name: string): Promise<void> {
  const annotations = { inbound: '8443:8080', allow: 'any' };
  const app = { name, script: IDLE_APP, serviceAccount: name, annotations };
  await kubectl(['apply', '-f', '-'], list([serviceAccount(NAMESPACE, name), deployment(NAMESPACE, app)]));
  await ready(NAMESPACE, name);
}

t.before(async () => {
  importSidecarImage(programs());
  await uninstall('--wait');
  await freshNamespace(NAMESPACE, ['certificate.ai-teddy.com/inject=enabled']);
});
t.teardown(() => uninstall());

t.test('three managers are ready, one leads, and pods get certificates whoever does', async (t) => {
  await freshNamespace(SYSTEM);
  const values = ['--values', join(CHART, 'values-ha.yaml'), '--set', 'webhook.replicas=1', ...images()];
  const small = ['--set-string', 'manager.extraEnv[0].name=MTLS_CA_KEY_SIZE,manager.extraEnv[0].value=2048'];
  const made = await helm('install', 'sidelock', CHART, '-n', SYSTEM, '--wait', '--timeout', '2m', ...values, ...small);
  t.equal(made.code, 0, made.stderr);
  t.notMatch(await system('logs', MANAGER, '--all-pods'), /rights_missing|"level":50/);
  t.equal(await system('get', MANAGER, '-o', 'jsonpath={.status.readyReplicas}'), '3', 'followers are ready too');
  await comesUp('first');
  const before = await roots();

  const gone = await leader();
  t.match(
    await system('get', 'endpointslice', 'sidelock-manager', '-o', 'jsonpath={.endpoints[*].addresses[*]}'),
    /^\S+$/,
  );
  const storage = '/var/lib/sidelock/store/.sidelock';
  const look = `console.log(require('node:fs').readdirSync('${storage}').filter((n) => !n.startsWith('lock.')).length)`;
  for (const pod of (await system('get', 'pods', '-l', 'app.kubernetes.io/component=manager', '-o', 'name')).split(
    '\n',
  )) {
    if (pod === '' || pod === `pod/${gone}`) continue;
    t.equal((await system('exec', pod, '--', NODE, '-e', look)).trim(), '0', `${pod} has no key`);
  }
  await system('delete', 'pod', gone, '--grace-period=0', '--force');
  await comesUp('second');
  t.not(await leader(), gone);

  await system('rollout', 'restart', MANAGER);
  await ready(SYSTEM, 'sidelock-manager');
  await comesUp('third');
  t.equal(await roots(), before, 'it is the same CA all along');
});
