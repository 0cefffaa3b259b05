import t from 'tap';
import { type SidecarFlags, sidecarSettings } from '../../../src/cli/sidecar-flags.ts';
import { sidecarOptions } from '../../../src/cli/sidecar-options.ts';
import { loadConfig } from '../../../src/config/load.ts';

function options(flags: SidecarFlags, env: Readonly<Record<string, string>> = {}) {
  return sidecarOptions(loadConfig('Sidecar', { env, flags: sidecarSettings(flags, env) }).config, flags.token);
}

t.test('inbound in every form', async (t) => {
  const forms = {
    '8443:8080': [
      { host: '0.0.0.0', port: 8443 },
      { host: '127.0.0.1', port: 8080 },
    ],
    ':8443:8080': [
      { host: '0.0.0.0', port: 8443 },
      { host: '127.0.0.1', port: 8080 },
    ],
    '10.0.0.1:8443:127.0.0.1:8080': [
      { host: '10.0.0.1', port: 8443 },
      { host: '127.0.0.1', port: 8080 },
    ],
    '8443:localhost:8080': [
      { host: '0.0.0.0', port: 8443 },
      { host: 'localhost', port: 8080 },
    ],
    '[::1]:8443:[::1]:8080': [
      { host: '::1', port: 8443 },
      { host: '::1', port: 8080 },
    ],
    '0:unix:/run/app.sock': [{ host: '0.0.0.0', port: 0 }, { path: '/run/app.sock' }],
    'host.example:1:2': [
      { host: 'host.example', port: 1 },
      { host: '127.0.0.1', port: 2 },
    ],
  };
  for (const [text, [listen, target]] of Object.entries(forms)) {
    const { inbound } = options({ service: 'a', inbound: [text], allow: ['web', 'ops/*'] });
    t.match(inbound, [{ listen, target, allow: ['web', 'ops/*'], protocol: 'tcp' }], text);
  }
  for (const text of ['8443', '8443:', ':8080', 'a:b', '1:2:3:4:5', '8443:9:80', '8443:unix:']) {
    t.throws(() => options({ service: 'a', inbound: [text], allow: ['web'] }), { code: 'SL-USAGE-001' }, text);
  }
});

t.test('several of each, each with a name of its own', async (t) => {
  const { inbound, outbound } = options({
    service: 'a',
    inbound: ['1:2', '3:4'],
    allow: ['any'],
    upstream: ['9101=orders@10.0.0.5:8443', '127.0.0.2:0=shop/orders@[::1]:8443', '9103=orders@h:1'],
  });
  t.match(inbound, [
    { name: 'inbound', allow: 'any' },
    { name: 'inbound-2', allow: 'any' },
  ]);
  t.match(outbound, [
    {
      name: 'orders',
      listen: { host: '127.0.0.1', port: 9101 },
      service: 'orders',
      address: { host: '10.0.0.5', port: 8443 },
    },
    { name: 'shop-orders', listen: { host: '127.0.0.2', port: 0 }, address: { host: '::1' } },
    { name: 'orders-2' },
  ]);
});

t.test('who may call is never left open', async (t) => {
  t.throws(() => options({ service: 'a', inbound: ['1:2'] }), { errors: [{ code: 'SL-CFG-005' }] });
  t.throws(() => options({ service: 'a', inbound: ['1:2'], allow: [] }), { errors: [{ code: 'SL-CFG-005' }] });
  t.throws(() => options({ service: 'a', allow: ['web'] }), { code: 'SL-USAGE-001' });
});

t.test('where the identity comes from', async (t) => {
  const upstream = ['1=orders@h:1'];
  const enrolled = options({ service: 'web', upstream, token: 'slk_x', manager: 'https://m:9443' }).identity;
  t.match(enrolled, { source: 'manager', service: 'web', directory: '.sidelock/web', address: 'https://m:9443' });
  t.equal(enrolled.source === 'manager' && (await enrolled.token?.()), 'slk_x');
  t.match(options({ upstream, identity: '/etc/tls' }).identity, { source: 'files', directory: '/etc/tls' });
  t.match(options({ service: 'web', upstream, identity: '/var/id' }).identity, {
    source: 'manager',
    directory: '/var/id',
  });
  const env = { MTLS_IDENTITY_SOURCE: 'bundle', MTLS_IDENTITY_FILE: '/b.pem', MTLS_IDENTITY_CA: '/ca.pem' };
  t.match(options({ upstream }, env).identity, { source: 'bundle', file: '/b.pem', ca: '/ca.pem' });
  t.throws(() => options({ upstream }), { code: 'SL-CFG-003', message: 'service is missing' });
});

t.test('a token file may come later', async (t) => {
  const directory = t.testdir({ token: ' slk_y\n', empty: '\n' });
  const ask = async (name: string) => {
    const { identity } = options({ service: 'web', upstream: ['1=orders@h:1'], tokenFile: `${directory}/${name}` });
    return identity.source === 'manager' ? await identity.token?.() : 'no';
  };
  t.equal(await ask('token'), 'slk_y');
  t.equal(await ask('empty'), undefined);
  t.equal(await ask('gone'), undefined);
  await t.rejects(ask(''), { code: 'SL-FS-001' });
});

t.test('no admin port unless asked for, since two sidecars of one machine would want the same', async (t) => {
  t.equal(options({ service: 'a', inbound: ['1:2'], allow: ['b'] }).admin, false);
  t.match(options({ service: 'a', inbound: ['1:2'], allow: ['b'], admin: '9901' }).admin, {
    host: '127.0.0.1',
    port: 9901,
  });
});

t.test('streams are on, and off when the config says so', async (t) => {
  const flags = { inbound: ['8443:8080'], allow: ['web'], identity: '.' };
  t.equal(options(flags).streams, true);
  t.equal(options(flags, { MTLS_STREAMS: 'off' }).streams, false);
  t.throws(() => options(flags, { MTLS_STREAMS: 'maybe' }));
});

t.test('an upstream without a port of its own is for the forward proxy', async (t) => {
  const flags = { upstream: ['orders@10.0.0.5:8443', '9101=stock@stock:8443'], identity: '.' };
  t.throws(() => options(flags));
  const { outbound, forwardProxy } = options({ ...flags, forwardProxy: '3128' });
  t.match(outbound, [{ name: 'orders' }, { name: 'stock', listen: { port: 9101 } }]);
  t.match(forwardProxy, { host: '127.0.0.1', port: 3128 });
});

t.test('one thread serves unless more are asked for', async (t) => {
  const asked = (workers?: string, env = {}) =>
    options({ service: 'a', inbound: ['1:2'], allow: ['any'], ...(workers === undefined ? {} : { workers }) }, env);
  t.equal(asked().workers, 1);
  t.equal(asked('3', { MTLS_WORKERS: '2' }).workers, 3);
  t.equal(asked(undefined, { MTLS_WORKERS: '2' }).workers, 2);
  for (const bad of ['0', '65', '1.5', 'two', '-1', ''])
    t.throws(() => asked(bad), { errors: [{ code: 'SL-CFG-003' }] }, bad);
});
