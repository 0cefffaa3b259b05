import { createSign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createManagerClient } from '../../src/api/client.ts';
import { systemClock } from '../../src/base/clock.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { candidate } from '../support/manager/rig.ts';
import { accountKubeconfig } from './account.ts';
import { kubectl, programs } from './kubectl.ts';
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
  serviceAccount,
} from './pods.ts';
import { importSidecarImage, SIDECAR_IMAGE } from './sidecar-image.ts';
import { NODE_IP, path } from './state.ts';

const NAMESPACE = 'tokens';
const AUDIENCE = 'certificate.ai-teddy.com/ca';
const UPSTREAMS = `orders.${NAMESPACE}.svc.cluster.local:8443=orders`;
const directory = shortDirectory(t);
let manager: { readonly url: string; readonly root: string };

/** All that the manager may do. */
const RIGHTS = [
  ['clusterrole', 'tokens-manager', '--verb=create', '--resource=tokenreviews.authentication.k8s.io'],
  ['clusterrole', 'tokens-manager-pods', '--verb=get', '--resource=pods'],
  ['clusterrole', 'tokens-manager-services', '--verb=list,watch', '--resource=services'],
];

t.before(async () => {
  importSidecarImage(programs());
  await freshNamespace(NAMESPACE);
  await kubectl(['-n', NAMESPACE, 'create', 'serviceaccount', 'mtls-manager']);
  for (const [kind = '', name = '', ...rule] of RIGHTS) {
    await kubectl(['delete', '--ignore-not-found', `${kind}/${name}`, `clusterrolebinding/${name}`]);
    await kubectl(['create', kind, name, ...rule]);
    await kubectl([
      'create',
      'clusterrolebinding',
      name,
      `--clusterrole=${name}`,
      `--serviceaccount=${NAMESPACE}:mtls-manager`,
    ]);
  }
});

t.teardown(async () => {
  const names = RIGHTS.flatMap(([, name]) => [`clusterrole/${name}`, `clusterrolebinding/${name}`]);
  await kubectl(['delete', '--ignore-not-found', ...names]);
  await kubectl(['delete', 'namespace', NAMESPACE, '--wait=false']);
});

/** The only pod of an app. */
const podOf = async (app: string) =>
  (
    await kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[0].metadata.name}'])
  ).trim();

const tokenOf = async (account: string, ...flags: readonly string[]) =>
  (await kubectl(['-n', NAMESPACE, 'create', 'token', account, ...flags])).trim();

const bound = (pod: string) => ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];

async function enrol(token: string, serviceName = 'orders', csr?: string) {
  const client = createManagerClient({ address: manager.url, clock: systemClock });
  const expected = { service: serviceName, namespace: NAMESPACE, trustDomain: 'ai-teddy.local', roots: [manager.root] };
  return await client.enrollPod(token, csr ?? (await candidate(serviceName)).csr, expected);
}

t.test('a manager with three rights takes pods by their tokens', async (t) => {
  const KUBECONFIG = await accountKubeconfig(NAMESPACE, 'mtls-manager', join(directory, 'manager.kubeconfig'));
  const storage = join(directory, 'pki');
  const args = ['manager', '--storage', storage, '--listen', `${NODE_IP}:0`, '--health', '127.0.0.1:0', '-o', 'json'];
  const env = { KUBECONFIG, MTLS_KUBERNETES_PODS: 'on', MTLS_CA_KEY_SIZE: '2048' };
  const running = startCli(args, { env });
  t.teardown(async () => {
    running.child.kill('SIGTERM');
    await running.ended;
  });
  const [line] = await running.saw(/^\{\n {2}"ready": true[\s\S]*?^\}$/m);
  const { url, root }: { url: string; root: string } = JSON.parse(line);
  manager = { url, root: root.slice('sha256:'.length) };
  t.notMatch(running.stderr(), /rights_missing/);

  const given = list([
    serviceAccount(NAMESPACE, 'orders'),
    serviceAccount(NAMESPACE, 'web'),
    service(NAMESPACE, 'orders', 8443),
    deployment(NAMESPACE, {
      name: 'orders',
      script: ECHO_APP,
      serviceAccount: 'orders',
      annotations: { inbound: '8443:8080', allow: 'web', protocol: 'http' },
    }),
    deployment(NAMESPACE, {
      name: 'web',
      script: IDLE_APP,
      serviceAccount: 'web',
      annotations: { upstreams: UPSTREAMS, protocol: 'http' },
    }),
  ]);
  const flags = ['--image', SIDECAR_IMAGE, '--manager', url, '--root', root];
  const injected = await cli(['inject', ...flags, '-'], { stdin: given });
  t.equal(injected.code, 0, injected.stderr);
  await kubectl(['apply', '-f', '-'], injected.stdout);
  await ready(NAMESPACE, 'orders', 'web');
  t.equal(await kubectl(['-n', NAMESPACE, 'get', 'secrets', '-o', 'name']), '', 'and needs no Secret');

  t.match(await run(NAMESPACE, 'deploy/web', 'app', CALL_ORDERS), `URI=spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/web`);
  const mounts = await run(
    NAMESPACE,
    'deploy/web',
    'sidelock',
    `console.log(fs.readdirSync('/var/run/secrets/kubernetes.io/serviceaccount').join())`,
  );
  t.match(mounts, /token/);
  t.notMatch(mounts, /ca\.crt/, 'the sidecar has no credential for the API server');

  await t.test('names are those of ServiceAccount and Services, whatever the request says', async (t) => {
    const { key } = await candidate('orders');
    const { createCsr } = await import('../../src/pki/csr.ts');
    const answer = await enrol(
      await tokenOf('orders', `--audience=${AUDIENCE}`, ...bound(await podOf('orders'))),
      'orders',
      createCsr(key, 'admin'),
    );
    const leaf = new X509Certificate(answer.certificate);
    t.equal(leaf.subject, 'CN=orders');
    t.equal(
      leaf.subjectAltName,
      `URI:spiffe://ai-teddy.local/ns/${NAMESPACE}/sa/orders, DNS:orders.${NAMESPACE}.svc, DNS:orders.${NAMESPACE}.svc.cluster.local`,
    );
    t.ok(leaf.validToDate.getTime() - systemClock.now() <= 86_400_000, 'for a day');
  });

  await t.test('each token that proves less is refused, and told why', async (t) => {
    const orders = await podOf('orders');
    const good = await tokenOf('orders', `--audience=${AUDIENCE}`, ...bound(orders));
    const rows: Array<[string, string, string, RegExp]> = [
      ['for the API server', await tokenOf('orders', ...bound(orders)), 'SL-POD-001', /audience/],
      ['for somebody else', await tokenOf('orders', '--audience=vault', ...bound(orders)), 'SL-POD-001', /audience/],
      ['bound to no pod', await tokenOf('orders', `--audience=${AUDIENCE}`), 'SL-POD-001', /not bound/],
      [
        'of another account',
        await tokenOf('web', `--audience=${AUDIENCE}`, ...bound(await podOf('web'))),
        'SL-POD-002',
        /ServiceAccount is web/,
      ],
      ['expired', resigned(good, { exp: 1_700_000_000 }), 'SL-POD-001', /expired/],
      ['changed', `${good.slice(0, -4)}AAAA`, 'SL-POD-001', /API server says/],
      ['of no cluster', 'slk_abc', 'SL-POD-001', /no ServiceAccount token/],
    ];
    for (const [name, token, code, why] of rows) await t.rejects(enrol(token), { code, why }, name);

    await kubectl(['-n', NAMESPACE, 'delete', 'pod', orders, '--wait=true']);
    await t.rejects(
      enrol(good),
      { code: /SL-POD-00[12]/, why: /invalidated|no such pod|being deleted/ },
      'of a pod that is gone',
    );
    const audit = await cli(['audit', 'show', '--storage', storage, '--action', 'token_refused', '-o', 'json']);
    t.match(audit.stdout, /SL-POD-001/, audit.stderr);
  });
});

/** The token with other claims, signed as this cluster signs. */
function resigned(token: string, claims: object): string {
  const [head = '', payload = ''] = token.split('.');
  const changed = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), ...claims };
  const text = `${head}.${Buffer.from(JSON.stringify(changed)).toString('base64url')}`;
  return `${text}.${createSign('RSA-SHA256')
    .update(text)
    .sign(readFileSync(path('sa.key')))
    .toString('base64url')}`;
}
