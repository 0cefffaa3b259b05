import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { verifyCsr } from '../../src/pki/csr.ts';
import { generateKey } from '../../src/pki/keys.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { answered, askForPod, makeShop, requestOf, TRUST_BUNDLE } from '../cluster/pod-requests.ts';
import { NAMESPACE, startReplicas } from '../cluster/replicas.ts';
import { cli } from '../support/cli.ts';

const AT_ONCE = 6;

t.test('kubelet is answered whoever leads, once for each request, under the same root', async (t) => {
  const api = await startApiServer(t);
  const flags = ['--pod-certificates', '--state', 'secrets', '--manager-replicas', '2'];
  await api.kubectl(['apply', '-f', '-'], (await cli(['install', ...flags])).stdout);
  const uid = await makeShop(api);
  const kubeconfig = api.kubeconfig({ token: await api.tokenOf(NAMESPACE, 'sidelock-manager') });
  const env = { MTLS_KUBERNETES_PODS: 'on', MTLS_KUBERNETES_POD_CERTIFICATES: 'on' };
  const replicas = await startReplicas(t, { api, kubeconfig, count: 2, env });
  const keys: string[] = [];
  const ask = async (name: string) => {
    const csr = requestOf(await generateKey('ecdsa-p256'));
    keys.push(verifyCsr(csr, name).spkiSha256);
    await askForPod(api, name, csr, uid);
  };
  const root = async () => {
    const { spec } = await api.must('GET', TRUST_BUNDLE);
    return (spec as { readonly trustBundle: string }).trustBundle;
  };

  const first = await replicas.leader();
  await ask('before');
  t.match(await answered(api, 'before'), { conditions: [{ type: 'Issued' }] });
  const roots = await root();

  const names = Array.from({ length: AT_ONCE }, (_, i) => `amid-${i}`);
  for (const name of names) await ask(name);
  await replicas.kill(first);
  await ask('between');
  t.not(await replicas.leader(), first);
  await ask('after');
  for (const name of [...names, 'between', 'after']) {
    const { certificateChain = '', conditions } = await answered(api, name);
    t.match(conditions, [{ type: 'Issued' }], name);
    t.ok(new X509Certificate(certificateChain).verify(new X509Certificate(roots).publicKey), name);
  }
  t.equal(await root(), roots, 'no leader begins another CA');
  const bySpki = Map.groupBy(await replicas.inventory(), ({ spkiSha256 }) => spkiSha256);
  t.strictSame(
    keys.map((key) => bySpki.get(key)?.length),
    keys.map(() => 1),
    'each is on record, once, also with the leader that did not answer it',
  );
});
