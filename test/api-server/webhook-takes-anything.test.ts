import { once } from 'node:events';
import { request } from 'node:https';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { systemClock } from '../../src/base/clock.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { cli, startCli } from '../support/cli.ts';
import { openManager, temporaryDirectory } from '../support/manager/rig.ts';
import { until } from '../support/until.ts';

const SYSTEM = 'sidelock-system';
const DOMAIN = 'certificate.ai-teddy.com';
const CONFIGURATION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidelock-webhook';
const AUTHORITY = `/api/v1/namespaces/${SYSTEM}/secrets/sidelock-webhook-ca`;
const MERGE = { type: 'application/merge-patch+json' };

const WELL = [
  ...['version', 'meshes', 'psa', 'webhook', 'bundle', 'trust', 'injection'],
  ...['pods', 'sidecars', 'plaintext', 'rights'],
];

type Json = Record<string, unknown>;

/** A pod of a ReplicaSet that asks for a sidecar. */
function pod(name: string, spec: Json = {}, annotations: Json = {}): Json {
  const asked = { [`${DOMAIN}/inbound`]: '8443:8080', [`${DOMAIN}/allow`]: 'web', ...annotations };
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'orders-7d', uid: name };
  const containers = [{ name: 'app', image: 'app:1', ports: [{ containerPort: 8080 }] }];
  const metadata = { name, annotations: asked, ownerReferences: [owner] };
  return { metadata, spec: { serviceAccountName: 'orders', containers, ...spec } };
}

/** The installation, with a Service that leads to a webhook on this machine. */
async function install(api: ApiServer): Promise<void> {
  const objects = parseAllDocuments((await cli(['install'])).stdout)
    .map((document) => document.toJS() as Json & { kind: string; metadata: { name: string } })
    .filter(({ kind, metadata }) => !(kind === 'Service' && metadata.name === 'sidelock-webhook'));
  const metadata = { name: 'sidelock-webhook', namespace: SYSTEM };
  const spec = { type: 'ExternalName', externalName: 'localhost' };
  const items = [...objects, { apiVersion: 'v1', kind: 'Service', metadata, spec }];
  await api.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

/** Straight to the webhook, as whoever reaches it could. */
async function post(port: number, path: string, body: string): Promise<number> {
  const options = { port, path, method: 'POST', rejectUnauthorized: false, agent: false };
  const sent = request({ host: 'localhost', ...options });
  sent.on('error', () => {});
  sent.end(body);
  const [response] = await once(sent, 'response');
  response.resume();
  return response.statusCode;
}

t.test('whatever the API server or anybody else sends, the webhook answers and stays', async (t) => {
  const api = await startApiServer(t);
  await install(api);
  const labels = { [`${DOMAIN}/inject`]: 'enabled' };
  for (const name of ['shop', 'doomed']) {
    await api.must('POST', '/api/v1/namespaces', { metadata: { name, labels } });
    await api.must('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'orders' } });
  }
  const manager = await openManager(await temporaryDirectory(t), systemClock);
  t.teardown(() => manager[Symbol.asyncDispose]());
  const roots = { metadata: { name: 'sidelock-trust' }, data: { 'ca.crt': manager.trustBundle().pem } };
  await api.must('POST', `/api/v1/namespaces/${SYSTEM}/configmaps`, roots);
  const KUBECONFIG = api.kubeconfig({ token: await api.tokenOf(SYSTEM, 'sidelock-webhook') });
  const env = { KUBECONFIG, MTLS_LISTEN: '127.0.0.1:0', MTLS_HEALTH: '127.0.0.1:0' };
  const webhook = startCli(['webhook'], { env });
  t.teardown(async () => {
    webhook.child.kill('SIGTERM');
    await webhook.ended;
  });
  const [, text = ''] = await webhook.saw(/webhook on port (\d+)/);
  const port = Number(text);
  const ports = [0, 1].map((at) => ({ op: 'replace', path: `/webhooks/${at}/clientConfig/service/port`, value: port }));
  await api.must('PATCH', CONFIGURATION, ports, { type: 'application/json-patch+json' });
  let pods = 0;
  const make = async (given: Json, namespace = 'shop') => {
    const answer = await api.ask('POST', `/api/v1/namespaces/${namespace}/pods`, given);
    const spec = answer.body['spec'] as { readonly initContainers?: ReadonlyArray<{ name: string }> } | undefined;
    return { ...answer, sidecar: spec?.initContainers?.some(({ name }) => name === 'sidelock') === true };
  };
  const injects = async () => (await make(pod(`good-${pods++}`))).sidecar;
  await until(injects);

  await t.test('check --kubernetes finds nothing wrong with it', async (t) => {
    const path = '/api/v1/namespaces/shop/pods';
    await api.must('DELETE', path);
    await make(pod('checked'));
    // As kubelet and the controllers of a whole cluster would.
    const state = { state: { running: {} }, image: 's:1', imageID: 's', restartCount: 0 };
    const ready = { initContainerStatuses: [{ name: 'sidelock', ready: true, ...state }] };
    await api.must('PATCH', `${path}/checked/status`, { status: ready }, MERGE);
    for (const name of ['shop', 'doomed']) {
      await api.must('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
    }
    await api.must('POST', `/apis/discovery.k8s.io/v1/namespaces/${SYSTEM}/endpointslices`, {
      metadata: { name: 'webhook', labels: { 'kubernetes.io/service-name': 'sidelock-webhook' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
    });
    const env = { KUBECONFIG: api.kubeconfig() };
    const { code, stdout, stderr } = await cli(['check', '--kubernetes', '--fail-on', 'warning'], { env });
    t.equal(code, 0, stdout + stderr);
    for (const id of WELL) t.match(stdout, new RegExp(`\\W cluster\\.${id} `), id);
    t.match(stdout, `${WELL.length} ok, 0 to know, warnings: 0, errors: 0`);
    t.match(stdout, '1 sidecars are ready');
  });

  await t.test('each pod that cannot have a sidecar is made without, and told why', async (t) => {
    const containers = [{ name: 'app', image: 'app:1' }];
    const rows: Array<[string, string, Json, Json?]> = [
      ['host-network', 'uses the network of its node', { hostNetwork: true }],
      ['istio', 'sidecar of Istio or Linkerd', { containers: [...containers, { name: 'istio-proxy', image: 'p:1' }] }],
      ['linkerd', 'sidecar of Istio or Linkerd', {}, { 'linkerd.io/inject': 'enabled' }],
      ['port', 'has port 8443', { containers: [{ name: 'app', image: 'app:1', ports: [{ containerPort: 8443 }] }] }],
      ['name', 'a container called sidelock', { containers: [{ name: 'sidelock', image: 'app:1' }] }],
      ['annotation', 'there is no such annotation', {}, { [`${DOMAIN}/inbounds`]: '1:2' }],
      ['value', 'is not strict or permissive', {}, { [`${DOMAIN}/mode`]: 'half' }],
      ['windows', 'runs on Windows', { nodeSelector: { 'kubernetes.io/os': 'windows' } }],
    ];
    for (const [name, why, spec, annotations] of rows) {
      const { status, sidecar, warnings } = await make(pod(name, spec, annotations));
      t.match({ status, sidecar, warnings }, { status: 201, sidecar: false, warnings: why }, name);
      await until(async () => {
        const { body } = await api.ask('GET', '/api/v1/namespaces/shop/events');
        return JSON.stringify(body['items']).includes(why);
      });
      t.pass(`an Event on the owner says: ${why}`);
    }
  });

  await t.test('what is no review of an API server is refused, however large', async (t) => {
    const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: { uid: 'u' } };
    const rows: Array<[string, number, string, string?]> = [
      ['nothing', 400, ''],
      ['no JSON', 400, '{'],
      ['another version', 400, JSON.stringify({ ...review, apiVersion: 'admission.k8s.io/v1beta1' })],
      ['without a request', 400, JSON.stringify({ ...review, request: {} })],
      ['nested without end', 400, '['.repeat(4_000_000)],
      ['above 8 MiB', 413, JSON.stringify({ ...review, padding: 'x'.repeat(9 * 1024 * 1024) })],
      ['another path', 404, '{}', '/validate'],
    ];
    for (const [name, status, body, path = '/mutate'] of rows) t.equal(await post(port, path, body), status, name);
    t.ok(await injects(), 'and pods get sidecars');
  });

  await t.test('a namespace that is being deleted', async (t) => {
    await api.must('DELETE', '/api/v1/namespaces/doomed');
    const { status, body } = await make(pod('late'), 'doomed');
    t.match({ status, body }, { status: 403, body: { message: /being terminated/ } });
    const object = pod('late', { hostNetwork: true });
    const kind = { group: '', version: 'v1', kind: 'Pod' };
    const asked = { uid: 'u', kind, operation: 'CREATE', namespace: 'doomed', object };
    const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: asked };
    t.equal(await post(port, '/mutate', JSON.stringify(review)), 200);
    await webhook.saw(/"event":"event_not_told".*being terminated/);
    t.ok(await injects(), 'the Event that could not be told harms nobody');
  });

  await t.test('its Secret damaged or deleted, its bundle taken away, the API server restarted', async (t) => {
    const bundle = async () => {
      const { webhooks } = (await api.must('GET', CONFIGURATION)) as {
        webhooks: ReadonlyArray<{ clientConfig: { caBundle?: string } }>;
      };
      return webhooks[0]?.clientConfig.caBundle ?? '';
    };
    const isAnother = (before: string) => async () => !['', before].includes(await bundle()) && (await injects());
    const first = await bundle();
    await api.must('PATCH', AUTHORITY, { data: { 'tls.key': Buffer.from('edited').toString('base64') } }, MERGE);
    await until(isAnother(first));
    const second = await bundle();
    await api.must('DELETE', AUTHORITY);
    await until(isAnother(second));
    const third = await bundle();
    await api.stop();
    await webhook.saw(/"event":"webhook_state_failed","code":"SL-KUBE-001"/);
    await api.start();
    const removed = [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }];
    await api.must('PATCH', CONFIGURATION, removed, { type: 'application/json-patch+json' });
    await until(async () => (await bundle()) === third && (await injects()));
    t.pass('pods get sidecars after each of them');
  });
});
