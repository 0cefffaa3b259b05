import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { cli, shortDirectory } from '../support/cli.ts';

const DOMAIN = 'certificate.ai-teddy.com';
const SERVICE = 'apiVersion: v1\nkind: Service\nmetadata: {name: orders}   # odd   spacing\n';
const template = (indent: string, extra = '') =>
  [
    'metadata:',
    '  annotations:',
    `    ${DOMAIN}/service: orders`,
    `    ${DOMAIN}/inbound: "8443:8080"`,
    `    ${DOMAIN}/allow: web`,
    'spec:',
    ...(extra === '' ? [] : [`  ${extra}`]),
    '  containers:',
    '  - name: app # the app',
    '    image: orders:1',
  ]
    .map((line) => indent + line)
    .join('\n');
const workload = (kind: string, group: string, extra = '') =>
  `apiVersion: ${group}\nkind: ${kind}\nmetadata: {name: orders}\nspec:\n  template:\n${template('    ', extra)}\n`;

t.test('every kind with a pod gets its sidecar, all else stays, and uninject gives the input back', async (t) => {
  const documents = [
    SERVICE,
    ...['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'].map((kind) => workload(kind, 'apps/v1')),
    workload('Job', 'batch/v1'),
    `apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: orders}\nspec:\n  jobTemplate:\n    spec:\n      template:\n${template('        ')}\n`,
    `apiVersion: v1\nkind: Pod\n${template('')}\n`,
    `apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n${template('  ')}\n`,
    workload('Deployment', 'example.com/v1'),
  ];
  const input = documents.join('---\n');
  const injected = await cli(['inject', '-'], { stdin: input });
  t.equal(injected.code, 0, injected.stderr);
  t.ok(injected.stdout.startsWith(SERVICE), 'to the byte');
  t.ok(injected.stdout.endsWith(documents.at(-1) ?? '?'), 'another group is another kind');
  const found = parseAllDocuments(injected.stdout).map((document) => JSON.stringify(document.toJS()));
  t.same(
    found.map((text) => text.includes('"name":"sidelock"')),
    [false, true, true, true, true, true, true, true, true, false],
  );
  t.equal(injected.stderr.match(/sidecar of orders added/g)?.length, 8);
  t.match(injected.stdout, /- name: app # the app/);

  const again = await cli(['inject', '-'], { stdin: injected.stdout });
  t.equal(again.stdout, injected.stdout, 'a second time changes nothing');
  const out = await cli(['uninject', '-'], { stdin: injected.stdout });
  t.equal(out.stdout, input);
});

t.test('a directory in the order of names; a refusal is told and ends with 1', async (t) => {
  const directory = join(shortDirectory(t), 'k8s');
  mkdirSync(directory);
  writeFileSync(join(directory, 'b.yaml'), workload('Deployment', 'apps/v1', 'hostNetwork: true'));
  writeFileSync(join(directory, 'a.yml'), SERVICE.trimEnd());
  writeFileSync(join(directory, 'notes.txt'), 'not: [yaml');
  const { code, stdout, stderr } = await cli(['inject', directory]);
  t.equal(code, 1);
  t.equal(stdout, `${SERVICE.trimEnd()}\n---\n${workload('Deployment', 'apps/v1', 'hostNetwork: true')}`);
  t.match(stderr, /Deployment\/orders: no sidecar, host-network .*\n.*why .*\n.*fix /);
});

t.test('a file that is not there, and one that is no YAML', async (t) => {
  t.match(await cli(['inject', '/nowhere.yaml']), { code: 2, stdout: '', stderr: /SL-CFG-001/ });
  t.match(await cli(['inject', '-'], { stdin: 'a: [1\n' }), { code: 2, stdout: '', stderr: /stdin:\d+ is not YAML/ });
});

t.test(
  'what would go past a sidecar: Services are named, and NetworkPolicies printed where they are asked for',
  async (t) => {
    const pod = (name: string, more = '') => `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: shop
  labels: {app: ${name}}
  annotations: {${DOMAIN}/service: ${name}, ${DOMAIN}/inbound: "8443:8080", ${DOMAIN}/allow: web${more}}
spec: {containers: [{name: app, image: "a:1", ports: [{name: web, containerPort: 8080}]}]}
`;
    const service = (name: string, app: string, port: string) => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec: {selector: {app: ${app}}, ports: [${port}]}
`;
    const input = [
      pod('orders'),
      pod('open', `, ${DOMAIN}/mode: permissive`),
      service('past', 'orders', '{port: 80, targetPort: web}'),
      service('straight', 'orders', '{port: 8080}'),
      service('right', 'orders', '{port: 80, targetPort: 8443}'),
      service('elsewhere', 'web', '{port: 8080}'),
    ].join('---\n');
    const { stdout, stderr, code } = await cli(['inject', '--network-policies', '-'], { stdin: input.trimEnd() });
    t.equal(code, 0, stderr);
    t.match(stderr, 'Service/past: port 80 leads past the sidecar of Pod/orders, to 8080; set its targetPort to 8443');
    t.match(stderr, 'Service/straight: port 8080 leads past');
    t.notMatch(stderr, /right|elsewhere/);
    const objects = parseAllDocuments(stdout).map((document) => document.toJS());
    t.strictSame(
      objects.slice(2, 6),
      parseAllDocuments(input)
        .slice(2)
        .map((document) => document.toJS()),
      'the Services stay as they were written',
    );
    t.equal(objects.length, 7, 'none for a pod that serves callers without TLS too');
    t.match(objects[6], {
      kind: 'NetworkPolicy',
      metadata: { name: 'orders-sidecar-only', namespace: 'shop' },
      spec: {
        podSelector: { matchLabels: { app: 'orders' } },
        ingress: [{ ports: [{ port: 8443 }, { port: 15_021 }] }],
      },
    });
    t.notMatch((await cli(['inject', '-'], { stdin: input })).stdout, /NetworkPolicy/);
  },
);

t.test(
  'with host aliases names lead to the sidecar; what is not led of a Service in the same manifests is told',
  async (t) => {
    const web = `apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  annotations: {${DOMAIN}/service: web, ${DOMAIN}/upstreams: "orders:80=orders, db.data:5432=data/db", ${DOMAIN}/host-aliases: "true"}
spec: {containers: [{name: app, image: "a:1"}]}
`;
    const service = (name: string, namespace: string, spec: string) =>
      `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: {${spec}}\n`;
    const input = [
      web,
      service('orders', 'shop', 'ports: [{port: 80, targetPort: 8443}, {port: 81}, {port: 53, protocol: UDP}]'),
      service('orders', 'elsewhere', 'ports: [{port: 82}]'),
      service('db', 'data', 'clusterIP: None, ports: [{port: 5432}]'),
    ].join('---\n');
    const { stdout, stderr, code } = await cli(['inject', '-'], { stdin: input });
    t.equal(code, 0, stderr);
    t.match(parseAllDocuments(stdout)[0]?.toJS(), {
      spec: {
        hostAliases: [
          { hostnames: ['orders', 'orders.shop', /svc$/, /local$/] },
          { hostnames: ['db.data', /svc$/, /local$/] },
        ],
      },
    });
    t.match(stderr, 'Service/orders: nothing answers Pod/web at its port 81 (TCP) any more; name it in upstreams');
    t.match(stderr, 'at its port 53 (UDP) any more; leave out host-aliases');
    t.match(stderr, 'Service/db is headless');
    t.notMatch(stderr, /port 8[02]|5432/);
    t.equal((await cli(['uninject', '-'], { stdin: stdout })).stdout, input);
  },
);

t.test('a namespace that only the template of a pod tells counts for its host aliases', async (t) => {
  const input = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata:
      namespace: shop
      annotations: {${DOMAIN}/service: web, ${DOMAIN}/upstreams: "orders.shop:8080=orders", ${DOMAIN}/host-aliases: "true"}
    spec: {containers: [{name: app, image: "a:1"}]}
`;
  const { stdout, stderr, code } = await cli(['inject', '-'], { stdin: input });
  t.equal(code, 0, stderr);
  t.match(parseAllDocuments(stdout)[0]?.toJS(), {
    spec: { template: { spec: { hostAliases: [{ hostnames: ['orders', 'orders.shop', /svc$/, /local$/] }] } } },
  });
});

t.test('with --pod-certificates kubelet brings the certificate, as it does with the webhook', async (t) => {
  const input = workload('Deployment', 'apps/v1', 'serviceAccountName: orders');
  const { stdout, stderr, code } = await cli(['inject', '--pod-certificates', '-'], { stdin: input });
  t.equal(code, 0, stderr);
  t.match(parseAllDocuments(stdout)[0]?.toJS().spec.template.spec, {
    initContainers: [{ name: 'sidelock', volumeMounts: [{ mountPath: '/var/run/sidelock/identity' }] }],
    volumes: [
      {
        projected: {
          sources: [
            { podCertificate: { signerName: `${DOMAIN}/identity` } },
            { clusterTrustBundle: { name: `${DOMAIN}:identity:bundle` } },
          ],
        },
      },
    ],
  });
  t.equal((await cli(['uninject', '-'], { stdin: stdout })).stdout, input);
  const wrong = await cli(['inject', '--pod-certificates', '-'], { stdin: workload('Deployment', 'apps/v1') });
  t.match(wrong, { code: 1, stderr: /other-account/ }, 'the identity is that of the account');
  const both = ['inject', '--pod-certificates', '--manager', 'https://m:1', '--root', 'a'.repeat(64), '-'];
  t.match(await cli(both, { stdin: input }), { code: 2, stdout: '', stderr: /exclude each other/ });
});
