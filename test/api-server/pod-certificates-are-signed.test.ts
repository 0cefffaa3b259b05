import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { generateKey } from '../../src/pki/keys.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { answered, askForPod, makeShop, requestOf, TRUST_BUNDLE } from '../cluster/pod-requests.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { until } from '../support/until.ts';

/** A request with the key of the CA itself. */
function ofAuthority(storage: string): Buffer {
  return requestOf(createPrivateKey(readFileSync(join(storage, '.sidelock/ca/root.key'))));
}

t.test('kubelet gets certificates for pods that are what it says, and is told why not for others', async (t) => {
  const api = await startApiServer(t);
  await api.kubectl(['apply', '-f', '-'], (await cli(['install', '--pod-certificates'])).stdout);
  const uid = await makeShop(api);
  const storage = join(shortDirectory(t), 'pki');
  const env = {
    KUBECONFIG: api.kubeconfig({ token: await api.tokenOf('sidelock-system', 'sidelock-manager') }),
    MTLS_KUBERNETES_PODS: 'on',
    MTLS_KUBERNETES_POD_CERTIFICATES: 'on',
    MTLS_KUBERNETES_NAMESPACE: 'sidelock-system',
    MTLS_KUBERNETES_VALIDITY: '10m',
    MTLS_CA_KEY_SIZE: '3072',
  };
  const args = ['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0', '-o', 'json'];
  const manager = startCli(args, { env });
  t.teardown(async () => {
    manager.child.kill('SIGTERM');
    await manager.ended;
  });
  await manager.saw(/"ready": true/);
  const trust = (...words: string[]) => cli(['trust', ...words, '--storage', storage, '-o', 'json']);
  const published = async () => {
    const found = await api.ask('GET', TRUST_BUNDLE);
    return (found.body['spec'] as { readonly trustBundle?: string } | undefined)?.trustBundle ?? '';
  };

  const key = await generateKey('ecdsa-p256');
  await askForPod(api, 'first', requestOf(key), uid);
  const given = await answered(api, 'first');
  t.match(given, { conditions: [{ type: 'Issued' }] });
  const leaf = new X509Certificate(given.certificateChain ?? '');
  const names = 'DNS:orders.shop.svc, DNS:orders.shop.svc.cluster.local';
  t.equal(leaf.subjectAltName, `URI:spiffe://ai-teddy.local/ns/shop/sa/orders, ${names}`);
  t.ok(leaf.publicKey.equals(createPublicKey(key)));
  const minutes = (from = '', to = '') => (Date.parse(to) - Date.parse(from)) / 60_000;
  t.ok(minutes(given.notBefore, given.notAfter) >= 60, 'Kubernetes takes none that lives shorter');
  t.equal(minutes(given.notBefore, given.beginRefreshAt), 10, 'but it is renewed as early as Kubernetes lets it be');
  t.ok(leaf.verify(new X509Certificate(await published()).publicKey), 'the bundle for kubelet has its root');

  const fresh = async () => requestOf(await generateKey('ecdsa-p256'));
  await api.must('POST', '/api/v1/namespaces/shop/serviceaccounts', { metadata: { name: 'web' } });
  const p521 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521', '-keyout', '/dev/null'];
  const large = execFileSync('openssl', ['req', '-new', ...p521, '-nodes', '-subj', '/', '-outform', 'DER']);
  const userAnnotations = { unverifiedUserAnnotations: { 'a.test/b': 'c' } };
  const rows: Array<[string, object, string, RegExp, Buffer?]> = [
    ['annotated', userAnnotations, 'InvalidUnverifiedUserAnnotations', /a\.test\/b/],
    ['curve', {}, 'UnsupportedKeyType', /secp521r1|P-521/i, large],
    ['another-account', { serviceAccountName: 'web' }, 'PodNotAsClaimed', /does not run as web/],
    ['another-pod', { podUID: 'b2f1a1de-0000-4000-8000-000000000000' }, 'PodNotAsClaimed', /another pod/],
    ['gone', { podName: 'orders-0' }, 'PodNotAsClaimed', /no such pod/],
    ['key-of-the-ca', {}, 'KeyOfSomebodyElse', /not its own|certified for/, ofAuthority(storage)],
  ];
  for (const [name, more, reason, message, csr] of rows) {
    await askForPod(api, name, csr ?? (await fresh()), uid, more);
    t.match(await answered(api, name), { conditions: [{ type: 'Denied', reason, message }] }, name);
  }

  await askForPod(api, 'second', await fresh(), uid);
  await answered(api, 'second');
  const listed = JSON.parse((await cli(['list', '--storage', storage, '-o', 'json'])).stdout);
  t.match(JSON.stringify(listed), /"by":"kubelet"/);

  t.equal((await trust('stage')).code, 0);
  await until(async () => (await published()).match(/BEGIN/g)?.length === 2);
  const activated = await trust('activate');
  t.equal(activated.code, 0, activated.stderr || 'a rollover waits for no sidecar that kubelet serves');
  const early = await trust('retire', '--yes');
  t.match(
    early,
    { code: 1, stderr: /SL-TRUST/ },
    'but its old root stays until kubelet has certificates of the new one',
  );
  t.match((await trust('status')).stdout, /its certificate is of the old root/);
  await askForPod(api, 'third', await fresh(), uid);
  const third = await answered(api, 'third');
  t.not(third.certificateChain, given.certificateChain);
  t.equal((await trust('retire', '--yes')).code, 0);
  await until(async () => (await published()).match(/BEGIN/g)?.length === 1);
  const last = (third.certificateChain ?? '').match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----\n/)?.[0] ?? '';
  t.ok(new X509Certificate(last).checkIssued(new X509Certificate(await published())));
});
