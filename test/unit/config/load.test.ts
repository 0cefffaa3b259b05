import t from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { errorsIn, problemsIn } from '../../support/config.ts';

const SIDECAR = `kind: Sidecar
service: orders
identity: { source: manager }
inbound:
  - listen: 8443
    target: 8080
    allow: [web]
`;

t.test('defaults < file < environment < flags', async (t) => {
  const { config, origin } = loadConfig('Manager', {
    file: { name: 'm.yaml', text: 'ca:\n  name: File\nstorage: { path: /file }\ntokens: { ttl: 1m }\n' },
    env: { MTLS_STORAGE_PATH: '/env', MTLS_CA_NAME: 'Env' },
    flags: [{ path: ['storage', 'path'], value: '/flag', origin: { from: 'flag', name: '--storage' } }],
  });
  t.match(config, {
    storage: { path: '/flag' },
    ca: { name: 'Env', keySize: 4096, validityYears: 10 },
    tokens: { ttl: 60_000, maxTtl: 3_600_000 },
    trustDomain: 'ai-teddy.local',
  });
  t.strictSame(origin(['storage', 'path']), { from: 'flag', name: '--storage' });
  t.strictSame(origin(['ca', 'name']), { from: 'env', name: 'MTLS_CA_NAME' });
  t.strictSame(origin(['tokens', 'ttl']), { from: 'file', file: 'm.yaml', line: 4, column: 11 });
  t.strictSame(origin(['trustDomain']), { from: 'default' });
});

t.test('the result is frozen all the way down', async (t) => {
  const { config } = loadConfig('Sidecar', { file: { name: 'c', text: SIDECAR }, env: {} });
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.inbound[0]) && Object.isFrozen(config.inbound[0]?.allow));
});

t.test('addresses in every form', async (t) => {
  const text = `kind: Sidecar
identity: { source: bundle, file: /b.pem, ca: /ca.pem }
inbound:
  - { listen: ':8443', target: 'unix:/run/app.sock', allow: any }
  - { listen: '[::1]:0', target: localhost:80, allow: [ops/*, shop/web, 'spiffe://td/ns/shop/*'] }
outbound: [{ listen: 9101, service: shop/orders, address: 'orders.shop.svc:8443' }]
`;
  const { config } = loadConfig('Sidecar', { file: { name: 'c', text }, env: {} });
  t.match(config.inbound, [
    { listen: { host: '0.0.0.0', port: 8443 }, target: { path: '/run/app.sock' }, allow: 'any' },
    { listen: { host: '::1', port: 0 }, target: { host: 'localhost', port: 80 } },
  ]);
  t.match(config.outbound, [
    { listen: { host: '127.0.0.1', port: 9101 }, address: { host: 'orders.shop.svc', port: 8443 } },
  ]);
});

t.test('every problem at once, in the order of the file, with line and column', async (t) => {
  const text = `apiVersion: sidelock/v1
kind: Sidecar
service: Orders
identity: { source: files, dirctory: /x }
inbound:
  - listen: 0.0.0.0:99999
    target: app
    alow: [web]
limits: { drain: 30, drain: 5s, handshakeTimeout: PT10M }
toString: 1
__proto__: { a: 1 }
`;
  t.strictSame(problemsIn('Sidecar', text), [
    'SL-CFG-003 c.yaml:3:1 service: expected a DNS label: a-z, 0-9 and -, at most 63 characters',
    'SL-CFG-003 c.yaml:4:1 identity.directory: is missing',
    'SL-CFG-004 c.yaml:4:28 identity.dirctory: unknown key',
    'SL-CFG-003 c.yaml:6:5 inbound[0].listen: port 99999 is not between 0 and 65535',
    'SL-CFG-005 c.yaml:6:5 inbound[0].allow: is missing',
    'SL-CFG-003 c.yaml:7:5 inbound[0].target: expected HOST:PORT or PORT; IPv6 as [::1]:8443',
    'SL-CFG-004 c.yaml:8:5 inbound[0].alow: unknown key',
    'SL-CFG-002 c.yaml:9:22 drain: this key is given twice',
    'SL-CFG-003 c.yaml:9:33 limits.handshakeTimeout: ISO 8601 durations are not used here; write 10m, 1h30m or 90d',
    'SL-CFG-004 c.yaml:10:1 toString: unknown key',
    'SL-CFG-004 c.yaml:11:1 __proto__: unknown key',
  ]);
});

t.test('an unknown key is answered with the nearest one and the keys of that place', async (t) => {
  const text = `${SIDECAR}    alow: [web]\n`;
  t.match(errorsIn('Sidecar', text), [
    {
      fix: 'did you mean "allow"?  keys here: acceptProxyHeader, allow, alpn, listen, mode, name, policy, protocol, resumption, sendProxyHeader, socketMode, target',
    },
  ]);
  const other = 'kind: Sidecar\nidentity: { source: manager, file: /x }\n';
  t.match(errorsIn('Sidecar', other), [
    { fix: 'keys here: address, directory, keyType, renewBefore, source, tokenFile' },
  ]);
});

t.test('no inbound without allow, and any is a word of its own', async (t) => {
  const inbound = (allow: string) =>
    `kind: Sidecar\nidentity: { source: manager }\ninbound: [{ listen: 1, target: 2${allow} }]\n`;
  for (const allow of ['', ', allow: ', ', allow: []']) {
    t.match(problemsIn('Sidecar', inbound(allow)), [/^SL-CFG-005 c.yaml:3:\d+ inbound\[0\].allow: /], `'${allow}'`);
  }
  t.match(problemsIn('Sidecar', inbound(', allow: [any]')), [/^SL-CFG-003 .*write allow: any alone/]);
  t.match(problemsIn('Sidecar', inbound(', allow: all')), [
    /^SL-CFG-003 .*expected a list of callers, or the word any/,
  ]);
  t.match(problemsIn('Sidecar', inbound(', allow: ["spiffe://td/*/x"]')), [/^SL-CFG-003 .*at its end/]);
  t.strictSame(problemsIn('Sidecar', inbound(', allow: any')), []);
});

t.test('a file of another kind is one problem, not fifty', async (t) => {
  t.match(problemsIn('Manager', SIDECAR), [/^SL-CFG-003 c.yaml is no config of kind Manager$/]);
});

t.test('text that is no YAML is told apart from wrong values', async (t) => {
  t.match(problemsIn('Manager', 'ca: [1, 2\nstorage: 1\n'), [/^SL-CFG-002 c.yaml:2:1 /]);
  t.match(problemsIn('Manager', 'ca: !!js/function x\n')[0], /^SL-CFG-002 c.yaml:1:5 Unresolved tag/);
  t.match(problemsIn('Manager', `${'['.repeat(20_000)}`)[0], /^SL-CFG-002 /);
  t.match(problemsIn('Manager', `a: ${'x'.repeat(1 << 20)}`)[0], /^SL-CFG-002 .*longer than 1 MiB/);
  const laughs = `a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
`;
  t.strictSame(problemsIn('Manager', laughs), ['SL-CFG-002 c.yaml cannot be read as YAML']);
});

t.test('a merge key is an unknown key: nothing comes in by a side door', async (t) => {
  t.match(problemsIn('Manager', 'ca: { <<: { name: x } }\n'), [/^SL-CFG-004 c.yaml:1:7 ca.<<: unknown key/]);
});

t.test('a block left empty takes its defaults', async (t) => {
  const { config } = loadConfig('Manager', { file: { name: 'm', text: 'ca:\nstorage:\n  path:\n' }, env: {} });
  t.match(config, { ca: { name: 'AI-Teddy-CA' }, storage: { path: './pki' } });
});

t.test('one setting may contradict another', async (t) => {
  t.match(problemsIn('Manager', 'tokens: { ttl: 2h }\n'), [
    'SL-CFG-003 c.yaml:1:11 tokens.ttl: is longer than tokens.maxTtl',
  ]);
});

t.test('a certificate life that no peer would accept is refused', async (t) => {
  t.match(problemsIn('Manager', 'certificates: { validity: 399d }\n'), [/certificates.validity: at most 398d/]);
  t.match(problemsIn('Manager', 'certificates: { validity: 5s }\n'), [/certificates.validity: at least 30s/]);
});

t.test('an outbound needs a port of its own, or the forward proxy', async (t) => {
  const text = (more: string) => `kind: Sidecar
identity: { source: files, directory: /tls }
outbound: [{ service: orders, address: "orders:8443" }]
${more}`;
  t.match(problemsIn('Sidecar', text('')), [/outbound\[0\].listen: is missing/]);
  t.doesNotThrow(() =>
    loadConfig('Sidecar', { file: { name: 'c.yaml', text: text('forwardProxy: { listen: 3128 }') }, env: {} }),
  );
});

t.test('where an upstream is: a place, SRV records, or a list of those; a list is not empty', async (t) => {
  const of = (address: string, more = '') => `kind: Sidecar
identity: { source: files, directory: /tls }
outbound: [{ listen: 9101, service: orders, address: ${address} }]
${more}`;
  const load = (text: string) =>
    loadConfig('Sidecar', { file: { name: 'c.yaml', text }, env: {} }).config.outbound[0]?.address;
  t.same(load(of('"a:1"')), { host: 'a', port: 1 });
  t.same(load(of('["a:1", "srv:_orders._tcp.internal"]')), [{ host: 'a', port: 1 }, { srv: '_orders._tcp.internal' }]);
  for (const bad of ['[]', '"a"', '"srv:"', '"srv:a b"', '["a"]']) t.not(problemsIn('Sidecar', of(bad)).length, 0, bad);
  t.match(problemsIn('Sidecar', of('"a:1"', 'dns: { servers: [dns.internal] }')), [/dns.servers\[0\]: expected IP/]);
});
