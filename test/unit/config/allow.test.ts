import t from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { problemsIn } from '../../support/config.ts';

const sidecar = (allow: string, more = 'protocol: http') => `kind: Sidecar
identity: { source: files, directory: /x }
inbound:
  - { listen: 1, target: 2, allow: ${allow}, ${more} }
`;

t.test('texts and blocks stand side by side', async (t) => {
  const allow = '[web, { namespace: ops, methods: [GET], paths: [/healthz, /a/*] }, { spiffe: "spiffe://b/*" }]';
  const { config } = loadConfig('Sidecar', { file: { name: 'c.yaml', text: sidecar(allow) }, env: {} });
  t.match(config.inbound, [{ policy: 'enforce', allow: ['web', { namespace: 'ops', methods: ['GET'] }, {}] }]);
});

t.test('variables give texts as before, blocks by key, and all as JSON', async (t) => {
  const text = sidecar('[a]');
  const allowOf = (env: Record<string, string>) =>
    loadConfig('Sidecar', { file: { name: 'c.yaml', text }, env }).config.inbound[0]?.allow;
  t.strictSame(allowOf({ MTLS_INBOUND_0_ALLOW: 'web,ops/*' }), ['web', 'ops/*']);
  t.strictSame(allowOf({ MTLS_INBOUND_0_ALLOW_0: 'web' }), ['web']);
  t.match(allowOf({ MTLS_INBOUND_0_ALLOW: '[{"service":"web","paths":["/a"]}]' }), [{ service: 'web', paths: ['/a'] }]);
});

t.test('what is wrong in a block is named by its key', async (t) => {
  for (const [allow, problem] of [
    ['[{ service: a, path: [/a] }]', /SL-CFG-004 c.yaml:4:\d+ inbound\[0\].allow\[0\].path: unknown key/],
    ['[{ methods: [GET] }]', /inbound\[0\].allow\[0\]: needs service, namespace or spiffe/],
    ['[{ service: a, spiffe: "spiffe://b/c" }]', /allow\[0\]: give service and namespace, or spiffe/],
    ['[{ service: a, methods: [get] }]', /allow\[0\].methods\[0\]: expected a method in capital letters/],
    ['[{ service: a, methods: [] }]', /allow\[0\].methods: /],
    ['[{ service: a, paths: [/a/../b] }]', /allow\[0\].paths\[0\]: expected \/exact\/path/],
    ['[{ service: a, paths: ["/a*"] }]', /allow\[0\].paths\[0\]: expected \/exact\/path/],
    ['[a, 7]', /allow\[1\]: expected a caller, or a block/],
    ['[A]', /allow\[0\]: expected SERVICE, NAMESPACE\/SERVICE/],
  ] as const) {
    const problems = problemsIn('Sidecar', sidecar(allow));
    t.equal(problems.length, 1, problems.join());
    t.match(problems[0], problem);
  }
});

t.test('methods and paths need a listener that reads requests', async (t) => {
  t.match(problemsIn('Sidecar', sidecar('[{ service: a, methods: [GET], paths: [/a] }]', 'protocol: tcp')), [
    /inbound\[0\].allow\[0\].methods: needs protocol: http/,
    /inbound\[0\].allow\[0\].paths: needs protocol: http/,
  ]);
});

t.test('what only one protocol knows is refused with the other', async (t) => {
  const text = `kind: Sidecar
identity: { source: files, directory: /x }
outbound:
  - { listen: 1, service: db, address: "db:1", protocol: http, answerSslRequest: true }
`;
  t.match(problemsIn('Sidecar', text), [/outbound\[0\].answerSslRequest: needs protocol: tcp/]);
});
