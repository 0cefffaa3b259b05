import { deepStrictEqual } from 'node:assert';
import fc from 'fast-check';
import t from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { inject } from '../../../src/kubernetes/inject.ts';
import type { Json } from '../../../src/kubernetes/names.ts';
import { takeOut } from '../../../src/kubernetes/uninject.ts';

const DOMAIN = 'certificate.ai-teddy.com';
const settings = { image: 'sidelock-sidecar:test', trustDomain: 'shop.test', logLevel: 'info', version: '1.2.3' };

const annotated = (annotations: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(annotations).map(([key, value]) => [`${DOMAIN}/${key}`, value]));
const ORDERS = { service: 'orders', inbound: '8443:8080', allow: 'web, ops/*' };
const pod = (annotations: Record<string, unknown> = ORDERS, spec: Json = {}): Json => ({
  metadata: { annotations: annotated(annotations) },
  spec: { containers: [{ name: 'app', image: 'app:1', ports: [{ containerPort: 8080 }] }], ...spec },
});

/** The sidecar of an injected pod. */
function sidecarOf(given: Json) {
  const result = inject(given, settings);
  if (result.outcome !== 'injected') throw new Error(JSON.stringify(result));
  const { spec } = result.pod as { spec: Record<string, Json[]> };
  const [sidecar] = spec['initContainers'] ?? [];
  if (sidecar === undefined) throw new Error('no init container');
  const env = (sidecar['env'] as unknown as Array<{ name: string; value?: string }>).flatMap(({ name, value }) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return { sidecar, spec, env: Object.fromEntries(env) as Record<string, string> };
}

t.test('a native sidecar, first, within Pod Security restricted', async (t) => {
  const { sidecar, spec } = sidecarOf(pod(ORDERS, { initContainers: [{ name: 'migrate', image: 'app:1' }] }));
  t.match(sidecar, { name: 'sidelock', image: 'sidelock-sidecar:test', restartPolicy: 'Always', args: ['sidecar'] });
  t.match(sidecar['securityContext'], {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  t.match(spec, { initContainers: [{ name: 'sidelock' }, { name: 'migrate' }], securityContext: { fsGroup: 65_532 } });
  t.match(spec['volumes'], [{ secret: { secretName: 'orders-mtls-certs' } }]);
});

t.test('its environment is a config that the sidecar takes', async (t) => {
  const upstreams = 'pay.shop:443=shop/pay, 9101:ops.svc:80=audit';
  const { env, spec } = sidecarOf(pod({ ...ORDERS, upstreams, protocol: 'http', 'log-level': 'debug' }));
  const { config } = loadConfig('Sidecar', { env });
  t.match(config, {
    service: 'orders',
    trustDomain: 'shop.test',
    identity: { source: 'files', directory: '/var/run/sidelock/identity' },
    inbound: [
      { listen: { host: '0.0.0.0', port: 8443 }, target: { port: 8080 }, protocol: 'http', allow: ['web', 'ops/*'] },
    ],
    outbound: [
      { listen: { host: '127.0.0.1', port: 15_101 }, service: 'shop/pay', address: { host: 'pay.shop', port: 443 } },
      { listen: { host: '127.0.0.1', port: 9101 }, service: 'audit', address: { host: 'ops.svc', port: 80 } },
    ],
    health: { host: '0.0.0.0', port: 15_021 },
    log: { level: 'debug' },
  });
  t.same(spec['containers']?.[0]?.['env'], [
    { name: 'PAY_MTLS_HOST', value: '127.0.0.1' },
    { name: 'PAY_MTLS_PORT', value: '15101' },
    { name: 'PAY_MTLS_URL', value: 'http://127.0.0.1:15101' },
    { name: 'AUDIT_MTLS_HOST', value: '127.0.0.1' },
    { name: 'AUDIT_MTLS_PORT', value: '9101' },
    { name: 'AUDIT_MTLS_URL', value: 'http://127.0.0.1:9101' },
  ]);
});

const LED = { service: 'web', 'host-aliases': 'true', protocol: 'http' };

t.test('with host aliases the names of upstreams lead to the sidecar, which asks for whole ones itself', async (t) => {
  const upstreams =
    'orders:80=orders, orders.shop:81=orders, pay.money:80=money/pay, 8080:old.shop.svc.corp.test:8443=old';
  const given = {
    metadata: { annotations: annotated({ ...LED, upstreams }) },
    spec: { containers: [{ name: 'app' }] },
  };
  const result = inject(given, settings, 'shop');
  if (result.outcome !== 'injected') throw new Error(JSON.stringify(result));
  const { spec } = result.pod as { spec: Record<string, Json[]> };
  const aliases = spec['hostAliases'] as unknown as Array<{ ip: string; hostnames: string[] }>;
  const spellings = (name: string, namespace: string, domain = 'cluster.local') => [
    `${name}.${namespace}`,
    `${name}.${namespace}.svc`,
    `${name}.${namespace}.svc.${domain}`,
  ];
  t.same(
    aliases.map(({ hostnames }) => hostnames),
    [
      ['orders', ...spellings('orders', 'shop')],
      spellings('pay', 'money'),
      ['old', ...spellings('old', 'shop', 'corp.test')],
    ],
    'a bare name is one of its own namespace',
  );
  const [orders = '', pay = '', old = ''] = aliases.map(({ ip }) => ip);
  t.equal(new Set([orders, pay, old]).size, 3);
  for (const ip of [orders, pay, old]) t.match(ip, /^127\.(?!0\.)/);
  const [sidecar = {}] = spec['initContainers'] ?? [];
  const env = Object.fromEntries(
    (sidecar['env'] as Array<{ name: string; value?: string }>).flatMap(({ name, value }) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
  t.match(loadConfig('Sidecar', { env }).config, {
    dns: { hostsFile: 'off' },
    outbound: [
      {
        name: 'orders-80',
        listen: { host: orders, port: 80 },
        address: { host: 'orders.shop.svc.cluster.local', port: 80 },
      },
      {
        name: 'orders-81',
        listen: { host: orders, port: 81 },
        address: { host: 'orders.shop.svc.cluster.local', port: 81 },
      },
      { name: 'pay-80', listen: { host: pay, port: 80 }, address: { host: 'pay.money.svc.cluster.local', port: 80 } },
      { name: 'old-8080', listen: { host: old, port: 8080 }, address: { host: 'old.shop.svc.corp.test', port: 8443 } },
    ],
  });
  t.notOk('env' in (spec['containers']?.[0] ?? {}), 'the app needs to know nothing');
  t.match(spec['securityContext'], { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }] });
  t.match(
    inject(given, settings, 'shop'),
    { pod: { spec: { hostAliases: aliases } } },
    'the same addresses in every pod',
  );
});

t.test('host aliases where the namespace is not known, and beside those that the pod has', async (t) => {
  const first = sidecarOf(pod({ ...LED, upstreams: 'orders:9090=orders' }));
  t.match(first.spec['hostAliases'], [{ hostnames: ['orders'] }]);
  t.match(first.env['MTLS_OUTBOUND'], 'orders.$(MTLS_NAMESPACE).svc.cluster.local:9090', 'kubelet knows it');
  t.notOk('sysctls' in (first.spec['securityContext'] ?? {}), 'no port below 1024');
  const [{ ip = '' } = {}] = first.spec['hostAliases'] as unknown as Array<{ ip: string }>;
  const theirs = [{ ip, hostnames: ['old'] }];
  const own = { hostAliases: theirs, securityContext: { sysctls: [{ name: 'kernel.shm_rmid_forced', value: '1' }] } };
  const given = pod({ ...LED, upstreams: 'orders:90=orders' }, own);
  const second = inject(given, settings);
  const { spec } = second.pod as { spec: Record<string, Json[]> };
  t.match(spec['hostAliases'], [theirs[0], { hostnames: ['orders'] }]);
  t.not(spec['hostAliases']?.[1]?.['ip'], ip, 'their address stays theirs');
  t.match(spec['securityContext'], { sysctls: [{}, { value: '0' }] });
  t.strictSame(takeOut(second.pod), given);
});

t.test('two words are a Service where the second is the namespace of who answers, else who means it says so', (t) => {
  const judge = (upstreams: string, namespace?: string) => inject(pod({ ...LED, upstreams }), settings, namespace);
  const asks = { outcome: 'refused', reason: 'host-alias' };
  t.match(judge('example.com:443=pay', 'shop'), {
    ...asks,
    why: /namespace shop/,
    fix: /example\.com\.svc.*variables/,
  });
  t.match(judge('orders.shop:80=orders'), { ...asks, why: /namespace/, fix: /orders\.shop\.svc/ }, 'of no namespace');
  for (const [upstreams, namespace] of [
    ['orders.shop:80=orders', 'shop'],
    ['orders.shop:80=shop/orders', 'web'],
    ['orders.shop:80=shop/orders', undefined],
    ['example.com.svc:443=pay', 'shop'],
    ['orders.shop.svc.corp.test:80=orders', undefined],
  ] as const) {
    t.match(judge(upstreams, namespace), { outcome: 'injected' }, `${upstreams} in ${namespace}`);
  }
  t.end();
});

t.test('what the pod says itself stays', async (t) => {
  const containers = [{ name: 'app', env: [{ name: 'PAY_MTLS_URL', value: 'mine' }] }];
  const { spec } = sidecarOf(
    pod({ ...ORDERS, upstreams: 'pay:443=pay' }, { containers, securityContext: { fsGroup: 7, runAsUser: 9 } }),
  );
  t.same(spec['containers']?.[0]?.['env'], [
    { name: 'PAY_MTLS_HOST', value: '127.0.0.1' },
    { name: 'PAY_MTLS_PORT', value: '15101' },
    { name: 'PAY_MTLS_URL', value: 'mine' },
  ]);
  t.same(spec['securityContext'], { fsGroup: 7, runAsUser: 9 });
});

t.test('the service is that of the annotation, else of the ServiceAccount', async (t) => {
  const { service: _, ...unnamed } = ORDERS;
  t.equal(sidecarOf(pod(ORDERS, { serviceAccountName: 'other' })).env['MTLS_SERVICE'], 'orders');
  t.equal(sidecarOf(pod(unnamed, { serviceAccountName: 'other' })).env['MTLS_SERVICE'], 'other');
});

t.test('with a manager the certificate comes by the token of the pod, and no Secret is needed', async (t) => {
  const roots = ['a'.repeat(64), 'b'.repeat(64)];
  const withManager = { ...settings, manager: { address: 'https://manager.test:9443', roots } };
  const given = pod({ inbound: '8443:8080', allow: 'web' }, { serviceAccountName: 'orders' });
  const result = inject(given, withManager);
  if (result.outcome !== 'injected') throw new Error(JSON.stringify(result));
  const { spec } = result.pod as { spec: Record<string, Json[]> };
  const [sidecar = {}] = spec['initContainers'] ?? [];
  const env = (sidecar['env'] as Array<{ name: string; value?: string }>).map(({ name, value }) => [name, value]);
  const { MTLS_NAMESPACE: _, ...variables } = Object.fromEntries(env) as Record<string, string>;
  t.match(loadConfig('Sidecar', { env: variables }).config, {
    service: 'orders',
    identity: {
      source: 'kubernetes',
      address: 'https://manager.test:9443',
      roots,
      directory: '/var/run/sidelock/identity',
    },
  });
  t.match(spec['volumes'], [
    { name: 'sidelock-identity', emptyDir: { medium: 'Memory' } },
    {
      name: 'sidelock-token',
      projected: { sources: [{ serviceAccountToken: { audience: 'certificate.ai-teddy.com/ca', path: 'token' } }] },
    },
  ]);
  t.match(
    sidecar['volumeMounts'],
    [{}, { mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }],
    'no token for the API server',
  );
  t.notOk('securityContext' in spec, 'no group is needed');
  t.strictSame(takeOut(result.pod), given);
  t.match(inject(pod(ORDERS, { serviceAccountName: 'other' }), withManager), { reason: 'other-account' });
  t.match(inject(pod(ORDERS), withManager), { reason: 'other-account', why: /default/ });
});

t.test('image and resources of one pod', async (t) => {
  const own = { image: 'mine:2', 'cpu-request': '50m', 'cpu-limit': '1', 'memory-limit': '1Gi' };
  t.match(sidecarOf(pod({ ...ORDERS, ...own })).sidecar, {
    image: 'mine:2',
    resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { cpu: '1', memory: '1Gi' } },
  });
});

t.test('who does not ask gets nothing', async (t) => {
  const plain = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'app' }] } };
  t.strictSame(inject(plain, settings), { outcome: 'skipped', pod: plain, reason: 'not-asked' });
  const off = { ...pod(), metadata: { labels: annotated({ inject: 'disabled' }), annotations: annotated(ORDERS) } };
  t.match(inject(off, settings), { outcome: 'skipped', reason: 'disabled' });
});

t.test('each refusal has its reason, and leaves the pod as it is', async (t) => {
  const rows: Array<[string, string, Json]> = [
    ['no containers', 'not-a-pod', { metadata: { annotations: annotated(ORDERS) }, spec: {} }],
    ['host network', 'host-network', pod(ORDERS, { hostNetwork: true })],
    ['Windows by selector', 'windows', pod(ORDERS, { nodeSelector: { 'kubernetes.io/os': 'windows' } })],
    ['Windows by field', 'windows', pod(ORDERS, { os: { name: 'windows' } })],
    ['Istio', 'other-mesh', pod(ORDERS, { containers: [{ name: 'app' }, { name: 'istio-proxy' }] })],
    ['Linkerd', 'other-mesh', pod(ORDERS, { initContainers: [{ name: 'linkerd-proxy' }] })],
    ['no service', 'no-service', pod({ inbound: '8443:8080', allow: 'any' }, { serviceAccountName: 'default' })],
    ['nothing to do', 'nothing-to-do', pod({ service: 'orders' })],
    ['container name', 'name-clash', pod(ORDERS, { containers: [{ name: 'sidelock' }] })],
    ['volume name', 'name-clash', pod(ORDERS, { volumes: [{ name: 'sidelock-identity', emptyDir: {} }] })],
    ['app on our port', 'port-clash', pod({ ...ORDERS, inbound: '8080:3000' })],
    ['app on the health port', 'port-clash', pod({ ...ORDERS, inbound: '15021:8080' })],
    ['sidecar as its own app', 'port-clash', pod({ ...ORDERS, inbound: '8443:15020' })],
    ['one port twice', 'port-clash', pod({ ...ORDERS, upstreams: '8443:pay:1=pay' })],
    ['unknown annotation', 'invalid-annotation', pod({ ...ORDERS, inbounds: '1:2' })],
    ['a number', 'invalid-annotation', pod({ ...ORDERS, inbound: 8443 })],
    ['half an inbound', 'invalid-annotation', pod({ ...ORDERS, inbound: '8443' })],
    ['port out of range', 'invalid-annotation', pod({ ...ORDERS, inbound: '8443:70000' })],
    ['inbound to itself', 'invalid-annotation', pod({ ...ORDERS, inbound: '8443:8443' })],
    ['no allow', 'invalid-annotation', pod({ service: 'orders', inbound: '8443:8080' })],
    ['empty allow', 'invalid-annotation', pod({ ...ORDERS, allow: ' ' })],
    ['any in a list', 'invalid-annotation', pod({ ...ORDERS, allow: 'web, any' })],
    ['a wildcard', 'invalid-annotation', pod({ ...ORDERS, allow: '*' })],
    ['upstream without service', 'invalid-annotation', pod({ ...ORDERS, upstreams: 'pay:443' })],
    ['upstream with a bad host', 'invalid-annotation', pod({ ...ORDERS, upstreams: 'pay"x:443=pay' })],
    ['upstream twice', 'invalid-annotation', pod({ ...ORDERS, upstreams: 'a:1=pay, b:1=pay' })],
    ['protocol', 'invalid-annotation', pod({ ...ORDERS, protocol: 'udp' })],
    ['log level', 'invalid-annotation', pod({ ...ORDERS, 'log-level': 'loud' })],
    ['quantity', 'invalid-annotation', pod({ ...ORDERS, 'cpu-limit': 'much' })],
    ...(
      [
        ['nothing to alias', 'invalid-annotation', { upstreams: '' }],
        ['half a wish', 'invalid-annotation', { 'host-aliases': 'yes' }],
        ['a name outside', 'host-alias', { upstreams: 'api.example.com:443=pay' }],
        ['a short name outside', 'host-alias', { upstreams: 'example.com:443=pay' }],
        ['one that is no namespace of that service', 'host-alias', { upstreams: 'example.com:443=money/pay' }],
        ['this machine', 'host-alias', { upstreams: 'localhost:443=pay' }],
        ['an address', 'host-alias', { upstreams: '10.0.0.1:443=pay' }],
        ['a pod of a headless Service', 'host-alias', { upstreams: 'db-0.db.shop.svc.cluster.local:5432=db' }],
        ['the API server', 'host-alias', { upstreams: 'kubernetes.default:443=pay' }],
        ['itself', 'host-alias', { upstreams: 'web:80=web' }],
        ['the port of the app', 'port-clash', { upstreams: 'orders:8080=orders' }],
        ['one name and port twice', 'port-clash', { upstreams: 'orders:80=orders, orders:80=pay' }],
        ['an inbound port', 'port-clash', { inbound: '8443:8080', allow: 'any', upstreams: 'orders:8443=orders' }],
      ] as const
    ).map(([name, reason, some]): [string, string, Json] => [
      `host aliases: ${name}`,
      reason,
      pod({ ...LED, upstreams: 'orders:80=orders', ...some }),
    ]),
    ...(
      [
        [
          'a name that the pod gives another meaning',
          'host-alias',
          { hostAliases: [{ ip: '10.1.1.1', hostnames: ['orders'] }] },
        ],
        ['the name of the pod', 'host-alias', { hostname: 'orders' }],
        [
          'ports kept closed',
          'host-alias',
          { securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '1024' }] } },
        ],
        [
          'a port that is probed',
          'port-clash',
          { containers: [{ name: 'app', livenessProbe: { tcpSocket: { port: 80 } } }] },
        ],
        ['the network of the node', 'host-network', { hostNetwork: true }],
      ] as const
    ).map(([name, reason, spec]): [string, string, Json] => [
      `host aliases: ${name}`,
      reason,
      pod({ ...LED, upstreams: 'orders:80=orders' }, spec),
    ]),
    ['service name', 'invalid-annotation', pod({ ...ORDERS, service: 'Orders' })],
  ];
  for (const [name, reason, given] of rows) {
    const result = inject(given, settings);
    t.match(result, { outcome: 'refused', reason, why: /\w/, fix: /\w/ }, name);
    t.equal(result.pod, given, `${name}: untouched`);
  }
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,6}$/);
const envs = fc.uniqueArray(fc.record({ name: fc.constantFrom('PAY_MTLS_URL', 'A', 'B'), value: fc.string() }), {
  selector: (variable) => variable.name,
});
const container = fc.record(
  { name, image: fc.string(), env: envs, ports: fc.constant([{ containerPort: 8080 }]) },
  { requiredKeys: ['name'] },
);
const containers = (minLength: number) =>
  fc.uniqueArray(container, { minLength, maxLength: 3, selector: (c) => c.name });
const pods = fc.record({
  metadata: fc.record(
    {
      annotations: fc
        .record({
          upstreams: fc.constantFrom('pay:443=pay', 'pay.a:1=a/pay, pay.b:2=b/pay'),
          'log-level': fc.constant('info'),
          'host-aliases': fc.constantFrom('true', 'false'),
        })
        .map((some) => annotated({ ...ORDERS, ...some })),
      labels: fc.dictionary(name, fc.string()),
    },
    { requiredKeys: ['annotations'] },
  ),
  spec: fc.record(
    {
      containers: containers(1),
      initContainers: containers(0),
      volumes: fc.array(fc.record({ name, emptyDir: fc.constant({}) }), { maxLength: 2 }),
      securityContext: fc.record(
        { fsGroup: fc.nat(), runAsUser: fc.nat(), sysctls: fc.constantFrom([], [{ name: 'a', value: '1' }]) },
        { requiredKeys: [] },
      ),
      serviceAccountName: name,
      hostAliases: fc.constantFrom([], [{ ip: '127.1.1.1', hostnames: ['x'] }]),
      restartPolicy: fc.constant('Never'),
    },
    { requiredKeys: ['containers'] },
  ),
});

t.test('any pod: injecting twice is injecting once, and taking out gives back what there was', async () => {
  fc.assert(
    fc.property(pods, (made) => {
      // Without the bare prototypes that fast-check likes.
      const given: Json = structuredClone(made);
      const before = structuredClone(given);
      const first = inject(given, settings);
      if (first.outcome !== 'injected') throw new Error(JSON.stringify(first));
      deepStrictEqual(given, before, 'the argument is not written to');
      deepStrictEqual(inject(first.pod, settings), first);
      deepStrictEqual(takeOut(first.pod), given);
      const newer = inject(first.pod, { ...settings, image: 'sidelock-sidecar:next' });
      deepStrictEqual(takeOut(newer.pod), given, 'after another version was injected over it');
    }),
    { numRuns: 100 },
  );
});

t.test('what was added by others since stays when the sidecar goes', async (t) => {
  const first = inject(pod(), settings).pod as { metadata: Json; spec: Record<string, Json[]> };
  const more = { ...first, spec: { ...first.spec, volumes: [...(first.spec['volumes'] ?? []), { name: 'late' }] } };
  t.same(takeOut(more), pod(ORDERS, { volumes: [{ name: 'late' }] }));
  const plain = pod();
  t.equal(takeOut(plain), plain, 'nothing to take');
});
