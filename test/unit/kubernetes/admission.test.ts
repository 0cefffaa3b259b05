import { deepStrictEqual } from 'node:assert';
import t from 'tap';
import { admit } from '../../../src/kubernetes/admission.ts';
import { inject } from '../../../src/kubernetes/inject.ts';
import { jsonPatch } from '../../../src/kubernetes/json-patch.ts';
import type { Json } from '../../../src/kubernetes/names.ts';
import { takeOut } from '../../../src/kubernetes/uninject.ts';

const DOMAIN = 'certificate.ai-teddy.com';
const settings = {
  image: 'sidelock-sidecar:test',
  trustDomain: 'shop.test',
  logLevel: 'info',
  version: '1.2.3',
  manager: { address: 'https://manager.test:9443', roots: ['a'.repeat(64)] },
};
const POD: Json = {
  metadata: {
    generateName: 'orders-7d-',
    annotations: { [`${DOMAIN}/inbound`]: '8443:8080', [`${DOMAIN}/allow`]: 'web' },
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'orders-7d', uid: 'r1' }],
  },
  spec: {
    serviceAccountName: 'orders',
    volumes: [{ name: 'data', emptyDir: {} }],
    containers: [
      {
        name: 'app',
        env: [{ name: 'A', value: '1' }],
        ports: [{ name: 'web', containerPort: 8080 }],
        readinessProbe: {
          periodSeconds: 3,
          httpGet: { path: '/ready', port: 'web', httpHeaders: [{ name: 'X', value: 'y' }] },
        },
        livenessProbe: { tcpSocket: { port: 8080 } },
        startupProbe: { httpGet: { path: '/', port: 9090 } },
      },
      { name: 'second' },
    ],
  },
};

const review = (object: unknown, more: Json = {}): string =>
  JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u1',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      operation: 'CREATE',
      namespace: 'shop',
      object,
      ...more,
    },
  });

interface Answer {
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly patch?: string;
    readonly warnings?: string[];
  };
}
const responseOf = ({ answer }: { readonly answer: Json }) => (answer as unknown as Answer).response;

/** RFC 6902, as far as we write it. */
function patched(given: Json, encoded: string | undefined): unknown {
  const result: unknown = structuredClone(given);
  const operations: Array<{ op: string; path: string; value?: unknown }> = JSON.parse(
    Buffer.from(encoded ?? '', 'base64').toString(),
  );
  for (const { op, path, value } of operations) {
    const keys = path
      .slice(1)
      .split('/')
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() ?? '';
    const holder = keys.reduce((at, key) => (at as Record<string, unknown>)[key], result);
    if (Array.isArray(holder)) holder.splice(Number(last), op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [value]));
    else if (op === 'remove') delete (holder as Record<string, unknown>)[last];
    else (holder as Record<string, unknown>)[last] = value;
  }
  return result;
}

t.test('the patch makes of the pod what inject makes of it, and adds to its lists', async (t) => {
  const admission = admit(review(POD), settings);
  t.match(admission, { result: 'injected', reason: 'none', of: 'shop/orders-7d-' });
  const { uid, allowed, patch } = responseOf(admission);
  t.match({ uid, allowed }, { uid: 'u1', allowed: true });
  const { pod } = inject(POD, settings);
  deepStrictEqual(patched(POD, patch), pod);
  const paths = jsonPatch(POD, pod).map(({ op, path }) => `${op} ${path}`);
  t.notOk(
    paths.some((path) => /replace \/spec\/(?:volumes|containers|initContainers)$/.test(path)),
    paths.join(),
  );
  t.strictSame(takeOut(pod), POD, 'and uninject undoes it');

  const again = admit(review(pod), settings);
  t.equal(responseOf(again).patch, undefined, 'a second review changes nothing');
});

t.test('probes of a port behind the sidecar are answered by it', async (t) => {
  const { pod } = inject(POD, settings);
  const { initContainers, containers } = pod['spec'] as Record<string, Json[]>;
  t.match(containers?.[0], {
    readinessProbe: { periodSeconds: 3, httpGet: { path: '/app-health/app/readyz', port: 15_021 } },
    livenessProbe: { httpGet: { path: '/app-health/app/livez', port: 15_021 } },
    startupProbe: { httpGet: { path: '/', port: 9090 } },
  });
  t.strictSame(containers?.[0]?.['livenessProbe'], { httpGet: { path: '/app-health/app/livez', port: 15_021 } });
  const [sidecar = {}] = initContainers ?? [];
  const variables = sidecar['env'] as Array<{ name: string; value: string }>;
  const env = variables.find(({ name }) => name === 'MTLS_PROBES');
  t.same(JSON.parse(env?.value ?? ''), [
    { path: '/app-health/app/livez', target: 'tcp://127.0.0.1:8080' },
    { path: '/app-health/app/readyz', target: 'http://127.0.0.1:8080/ready', headers: [{ name: 'X', value: 'y' }] },
  ]);
  const metadata = POD['metadata'] as { annotations: Json };
  const kept = { ...metadata, annotations: { ...metadata.annotations, [`${DOMAIN}/rewrite-probes`]: 'false' } };
  const plain = inject({ ...POD, metadata: kept }, settings).pod['spec'] as Record<string, Json[]>;
  t.match(plain['containers']?.[0], { livenessProbe: { tcpSocket: { port: 8080 } } });
});

t.test('a pod that cannot have a sidecar comes in without, and says why to whoever looks', async (t) => {
  const admission = admit(review({ ...POD, spec: { ...(POD['spec'] as Json), hostNetwork: true } }), settings);
  t.match(admission, {
    result: 'refused',
    reason: 'host-network',
    event: { namespace: 'shop', owner: { kind: 'ReplicaSet', uid: 'r1' }, message: /network of its node/ },
  });
  const { allowed, patch, warnings } = responseOf(admission);
  t.match({ allowed, patch, warnings }, { allowed: true, patch: undefined, warnings: [/^sidelock: no sidecar/] });
  const dry = admit(review({ ...POD, spec: { hostNetwork: true, containers: [{}] } }, { dryRun: true }), settings);
  t.equal(dry.event, undefined, 'a dry run leaves no trace');
  t.match(admit(review(POD), undefined), { result: 'refused', reason: 'no-trust' });
});

t.test('another mesh that came after us has the pod to itself', async (t) => {
  const { pod } = inject(POD, settings);
  const spec = pod['spec'] as Record<string, Json[]>;
  const both = { ...pod, spec: { ...spec, containers: [...(spec['containers'] ?? []), { name: 'istio-proxy' }] } };
  const admission = admit(review(both), settings);
  t.match(admission, { result: 'refused', reason: 'other-mesh' });
  t.strictSame(patched(both, responseOf(admission).patch), takeOut(both));
});

t.test('what is no pod that is being made is let through', async (t) => {
  const rows: Json[] = [
    { operation: 'DELETE', object: null },
    { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } },
    { object: 7 },
  ];
  for (const more of rows) {
    const admission = admit(review(POD, more), settings);
    t.match(responseOf(admission), { allowed: true, patch: undefined }, JSON.stringify(more));
  }
});

t.test('what is no review gets no answer', async (t) => {
  const rows = ['', '{', '[]', 'null', '{"kind":"AdmissionReview"}'];
  const older = JSON.parse(review(POD));
  rows.push(
    JSON.stringify({ ...older, apiVersion: 'admission.k8s.io/v1beta1' }),
    JSON.stringify({ ...older, request: {} }),
  );
  for (const text of rows) t.throws(() => admit(text, settings), { code: 'SL-HOOK-001' }, text.slice(0, 60));
});

t.test('the namespace of a pod is that of its review', (t) => {
  const annotations = { [`${DOMAIN}/upstreams`]: 'orders:80=orders', [`${DOMAIN}/host-aliases`]: 'true' };
  const pod = { metadata: { annotations }, spec: { serviceAccountName: 'web', containers: [{ name: 'app' }] } };
  const { answer } = admit(review(pod), settings);
  const patch = String((answer['response'] as Json)['patch']);
  t.match(Buffer.from(patch, 'base64').toString(), '"orders.shop.svc.cluster.local"');
  t.end();
});
