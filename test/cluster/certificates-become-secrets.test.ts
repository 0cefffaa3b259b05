import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory } from '../support/cli.ts';
import { accountKubeconfig } from './account.ts';
import { kubectl } from './kubectl.ts';
import { ADMIN_KUBECONFIG, API_PORT } from './state.ts';

const NAMESPACE = 'secrets';
const NAME = 'orders-mtls-certs';
const directory = shortDirectory(t);
const storage = join(directory, 'pki');

function secret(kubeconfig: string, ...flags: readonly string[]) {
  const args = [
    'kubernetes',
    'secret',
    '--service',
    'orders',
    '--namespace',
    NAMESPACE,
    '--storage',
    storage,
    ...flags,
  ];
  return cli([...args, '-o', 'json'], { env: { KUBECONFIG: kubeconfig } });
}

const read = async () => JSON.parse(await kubectl(['-n', NAMESPACE, 'get', 'secret', NAME, '-o', 'json']));

/** A kubeconfig whose account may do this with Secrets of the namespace, and nothing else. */
async function accountWith(verbs: string): Promise<string> {
  const name = `with-${verbs.replaceAll(',', '-')}`;
  await kubectl(['-n', NAMESPACE, 'create', 'serviceaccount', name]);
  await kubectl(['-n', NAMESPACE, 'create', 'role', name, `--verb=${verbs}`, '--resource=secrets']);
  const account = `--serviceaccount=${NAMESPACE}:${name}`;
  await kubectl(['-n', NAMESPACE, 'create', 'rolebinding', name, `--role=${name}`, account]);
  return await accountKubeconfig(NAMESPACE, name, join(directory, `${name}.kubeconfig`));
}

t.before(async () => {
  await kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s']);
  await kubectl(['create', 'namespace', NAMESPACE]);
});
t.teardown(() => kubectl(['delete', 'namespace', NAMESPACE, '--wait=false']));

t.test('made, left alone when it is the same, brought up to date when it is not', async (t) => {
  const account = await accountWith('get,create,update');
  const dry = await secret(account, '--dry-run');
  t.match(JSON.parse(dry.stdout), { name: NAME, outcome: 'created', dryRun: true }, dry.stderr);
  t.equal(await kubectl(['-n', NAMESPACE, 'get', 'secrets', '-o', 'name']), '', 'the dry run made nothing');

  t.match(JSON.parse((await secret(account)).stdout), { outcome: 'created' });
  const made = await read();
  t.match(made, {
    type: 'kubernetes.io/tls',
    metadata: { labels: { 'certificate.ai-teddy.com/managed-by': 'mtls-manager' } },
  });
  t.same(Object.keys(made.data).sort(), ['ca.crt', 'tls.crt', 'tls.key']);
  const leaf = new X509Certificate(Buffer.from(made.data['tls.crt'], 'base64'));
  t.match(leaf.subjectAltName, `URI:spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/orders`);
  t.equal(
    Buffer.from(made.data['tls.key'], 'base64').toString(),
    readFileSync(join(storage, 'orders/key.pem'), 'utf8'),
  );

  t.match(JSON.parse((await secret(account)).stdout), { outcome: 'unchanged' });
  t.equal((await read()).metadata.resourceVersion, made.metadata.resourceVersion, 'nothing was written');

  const again = await cli(['generate', '--service', 'orders', '--namespace', NAMESPACE, '--storage', storage]);
  t.equal(again.code, 0, again.stderr);
  t.match(JSON.parse((await secret(account)).stdout), { outcome: 'updated' });
  t.not((await read()).data['tls.crt'], made.data['tls.crt']);
});

t.test('a right that is missing is named', async (t) => {
  await kubectl(['-n', NAMESPACE, 'delete', 'secret', NAME]);
  const { code, stderr } = await secret(await accountWith('get'));
  t.equal(code, 1);
  t.match(JSON.parse(stderr), { error: { code: 'SL-KUBE-002', why: /cannot create resource "secrets"/ } }, stderr);
});

t.test('a Secret of somebody else is never written to', async (t) => {
  await kubectl(['-n', NAMESPACE, 'create', 'secret', 'generic', NAME, '--from-literal=mine=1']);
  const before = await read();
  const { code, stderr } = await secret(ADMIN_KUBECONFIG);
  t.equal(code, 1);
  t.match(stderr, /SL-KUBE-003/);
  t.same(await read(), before);
});

t.test('no cluster, and one that does not answer', async (t) => {
  const gone = join(directory, 'gone.kubeconfig');
  writeFileSync(gone, readFileSync(ADMIN_KUBECONFIG, 'utf8').replace(`:${API_PORT}`, ':1'));
  t.match(await secret(gone), { code: 1, stderr: /SL-KUBE-001/ });
});
