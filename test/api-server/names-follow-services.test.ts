import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startApiServer } from '../cluster/api-server.ts';
import { makeShop } from '../cluster/pod-requests.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { until } from '../support/until.ts';

const SERVICES = '/api/v1/namespaces/shop/services';

t.test('a certificate has the names of the Services that select its pod, also when these change', async (t) => {
  const api = await startApiServer(t);
  await api.kubectl(['apply', '-f', '-'], (await cli(['install'])).stdout);
  const uid = await makeShop(api);
  const directory = shortDirectory(t);
  const end = (running: ReturnType<typeof startCli>) =>
    t.teardown(async () => {
      running.child.kill('SIGTERM');
      await running.ended;
    });
  const KUBECONFIG = api.kubeconfig({ token: await api.tokenOf('sidelock-system', 'sidelock-manager') });
  const storage = join(directory, 'pki');
  const manager = startCli(
    ['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0', '-o', 'json'],
    { env: { KUBECONFIG, MTLS_KUBERNETES_PODS: 'on', MTLS_CA_KEY_SIZE: '2048' } },
  );
  end(manager);
  const [line] = await manager.saw(/^\{\n {2}"ready": true[\s\S]*?^\}$/m);
  const { url, root }: { url: string; root: string } = JSON.parse(line);
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'orders-1', uid };
  const token = await api.tokenOf('shop', 'orders', { audiences: ['certificate.ai-teddy.com/ca'], boundObjectRef });
  writeFileSync(join(directory, 'token'), token, { mode: 0o600 });
  const env = {
    MTLS_NAMESPACE: 'shop',
    MTLS_IDENTITY_SOURCE: 'kubernetes',
    MTLS_IDENTITY_ADDRESS: url,
    MTLS_IDENTITY_ROOTS: root,
    MTLS_IDENTITY_TOKEN_FILE: join(directory, 'token'),
    MTLS_IDENTITY_DIRECTORY: join(directory, 'identity'),
  };
  const sidecar = startCli(['sidecar', '--service', 'orders', '--inbound', '0:1', '--allow', 'any'], { env });
  end(sidecar);
  await sidecar.saw(/"event":"enrolled"/);

  const names = async () => {
    const listed = JSON.parse((await cli(['list', '--storage', storage, '-o', 'json'])).stdout);
    const [{ sans, serial }] = listed.items;
    return { names: sans.filter((name: string) => name.endsWith('.svc')).join(), serial };
  };
  const follow = (expected: string) => until(async () => (await names()).names === expected);
  const first = await names();
  t.equal(first.names, 'orders.shop.svc');
  const spec = { selector: { app: 'orders' }, ports: [{ port: 80 }] };
  await api.must('POST', SERVICES, { metadata: { name: 'checkout' }, spec });
  await follow('checkout.shop.svc,orders.shop.svc');
  t.not((await names()).serial, first.serial, 'one more Service selects the pod');
  const merge = { type: 'application/merge-patch+json' };
  await api.must('PATCH', `${SERVICES}/orders`, { spec: { selector: { app: 'orders', tier: 'front' } } }, merge);
  await follow('checkout.shop.svc');
  t.pass('another selects it no more');
  const last = await names();
  await api.must('POST', SERVICES, { metadata: { name: 'web' }, spec: { ...spec, selector: { app: 'web' } } });
  await sidecar.saw(/"event":"renewed"[\s\S]*"event":"renewed"/);
  t.equal((await names()).serial, last.serial, 'a Service of others changes nothing');
});
