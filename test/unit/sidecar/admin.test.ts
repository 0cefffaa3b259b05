import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { isSidelockError } from '../../../src/base/errors.ts';
import { Readiness } from '../../../src/base/lifecycle.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { startAdmin, startHealth } from '../../../src/sidecar/admin.ts';
import type { Identity, IdentityReader } from '../../../src/sidecar/identity.ts';

const readerOf = (identity?: unknown): IdentityReader => ({
  current: () => identity as Identity | undefined,
  subscribe: () => () => {},
});

async function start(t: Test, options: Partial<Parameters<typeof startAdmin>[0]> = {}) {
  const readiness = new Readiness();
  const admin = await startAdmin({
    listen: { host: '127.0.0.1', port: 0 },
    readiness,
    metrics: createMetrics(),
    identity: readerOf(),
    ...options,
  });
  t.teardown(() => admin[Symbol.asyncDispose]());
  return { admin, readiness };
}

/** Raw, because fetch does not let a test choose Host. Answers what came until the server closed. */
async function raw(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request);
  return text(socket);
}

t.test('healthz is alive, readyz names its blockers', async (t) => {
  const { admin, readiness } = await start(t);
  t.equal((await fetch(`${admin.url}/healthz`)).status, 200);
  readiness.block('identity', 'no certificate yet');
  const blocked = await fetch(`${admin.url}/readyz`);
  t.equal(blocked.status, 503);
  t.same(await blocked.json(), { ready: false, blockers: [{ name: 'identity', why: 'no certificate yet' }] });
  readiness.unblock('identity');
  const ready = await fetch(`${admin.url}/readyz?verbose`);
  t.equal(ready.status, 200);
  t.same(await ready.json(), { ready: true, blockers: [] });
  t.equal(ready.headers.get('server'), null);
});

t.test('metrics in the text format', async (t) => {
  const metrics = createMetrics();
  metrics.counter('probe_total', 'A probe.').with({}).value = 3;
  const { admin } = await start(t, { metrics });
  const response = await fetch(`${admin.url}/metrics`);
  t.match(response.headers.get('content-type'), /^text\/plain/);
  t.match(await response.text(), /^probe_total 3$/m);
});

t.test('identity shows what peers see and never the key', async (t) => {
  const identity = {
    generation: 7,
    spiffeId: 'spiffe://td/ns/default/sa/orders',
    serial: '3f0a',
    notBefore: 0,
    notAfter: 1000,
    trustGeneration: 'aa',
    material: {
      keyPem: 'SECRET',
      certPem: 'CERT',
      key: {},
      leaf: { fingerprint256: 'f1', issuer: 'CN=root' },
      bundle: { keyIds: ['k1'] },
    },
  };
  const { admin } = await start(t, { identity: readerOf(identity) });
  const body = await (await fetch(`${admin.url}/identity`)).text();
  t.notMatch(body, /SECRET|keyPem/);
  t.match(JSON.parse(body), {
    spiffeId: identity.spiffeId,
    serial: '3f0a',
    notAfter: '1970-01-01T00:00:01.000Z',
    generation: 7,
    bundleKeyIds: ['k1'],
  });
  const none = await start(t);
  t.equal((await fetch(`${none.admin.url}/identity`)).status, 503);
});

t.test('connections come from the data plane', async (t) => {
  const { admin } = await start(t, { connections: async () => [{ id: 1, peer: 'web' }] });
  t.same(await (await fetch(`${admin.url}/connections`)).json(), [{ id: 1, peer: 'web' }]);
});

t.test('shutdown and renew are POST with x-sidelock, and nothing a web page can send', async (t) => {
  let stopped = 0;
  let renewed = 0;
  let left = 0;
  const actions = { shutdown: () => stopped++, leave: () => left++, renew: async () => void renewed++ };
  const { admin } = await start(t, actions);
  const post = (path: string, headers: Record<string, string> = {}, method = 'POST') =>
    fetch(`${admin.url}${path}`, { method, headers });

  t.equal((await post('/shutdown')).status, 403);
  t.equal((await post('/shutdown', { 'x-sidelock': '0' })).status, 403);
  const get = await post('/shutdown', { 'x-sidelock': '1' }, 'GET');
  t.equal(get.status, 405);
  t.equal(get.headers.get('allow'), 'POST');
  t.equal((await post('/metrics')).status, 405);
  t.equal((await post('/shutdown', {}, 'OPTIONS')).status, 405, 'no preflight is answered');
  t.equal(stopped, 0);
  t.equal((await post('/leave')).status, 403);
  t.equal((await post('/leave', { 'x-sidelock': '1' })).status, 202);
  t.equal(left, 1);
  t.equal((await post('/renew', { 'x-sidelock': '1' })).status, 200);
  t.equal(renewed, 1);
  const answer = await post('/shutdown', { 'x-sidelock': '1' });
  t.equal(answer.status, 202);
  await answer.text();
  t.equal(stopped, 1, 'after the answer was sent');
});

t.test('P21: a Host that is no loopback name is refused', async (t) => {
  const { admin } = await start(t);
  const { port } = admin.address;
  const status = async (host: string) =>
    (await raw(port, `GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).slice(9, 12);
  for (const host of ['evil.com', `evil.com:${port}`, '127.0.0.1.evil.com', 'localhost.evil.com', '0.0.0.0', '[::]']) {
    t.equal(await status(host), '403', host);
  }
  for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]:80', 'LOCALHOST']) {
    t.equal(await status(host), '200', host);
  }
  t.match(await raw(port, 'GET /healthz HTTP/1.0\r\n\r\n'), /^HTTP\/1.1 403/, 'no Host at all');
});

t.test('unknown paths, inherited names and bodies', async (t) => {
  const { admin } = await start(t);
  t.equal((await fetch(`${admin.url}/config`)).status, 404);
  t.equal((await fetch(`${admin.url}/constructor`)).status, 404);
  t.equal((await fetch(`${admin.url}/__proto__`)).status, 404);
  const head = await fetch(`${admin.url}/healthz`, { method: 'HEAD' });
  t.equal(head.status, 200);
  const huge = `GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n`;
  t.match(await raw(admin.address.port, huge), /connection: close/i, 'a body is not waited for');
  const head431 = `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(9000)}\r\n\r\n`;
  t.equal((await raw(admin.address.port, head431)).length, 0, 'oversized head: closed');
});

t.test('an answer that fails is 500 without details', async (t) => {
  const { admin } = await start(t, {
    connections: () => {
      throw new Error('secret path /etc');
    },
  });
  const response = await fetch(`${admin.url}/connections`);
  t.equal(response.status, 500);
  t.same(await response.json(), { error: 'internal error' });
});

t.test('only loopback addresses are listened on', async (t) => {
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'example.com', '']) {
    const error = await start(t, { listen: { host, port: 0 } }).catch((found: unknown) => found);
    t.ok(isSidelockError(error, 'SL-CFG-003'), host);
  }
  const { admin } = await start(t, { listen: { host: 'localhost', port: 0 } });
  t.equal(admin.address.host, '127.0.0.1');
});

t.test('a port in use fails the start', async (t) => {
  const { admin } = await start(t);
  const error = await start(t, { listen: admin.address }).catch((found: unknown) => found);
  t.ok(isSidelockError(error, 'SL-NET-001'));
});

t.test('clients that hold connections open do not hold up the end', async (t) => {
  const { admin } = await start(t);
  const socket = connect(admin.address.port, '127.0.0.1');
  socket.write('GET /hea');
  await once(socket, 'connect');
  await fetch(`${admin.url}/healthz`);
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  await admin[Symbol.asyncDispose]();
  await closed;
});

t.test('the health endpoints answer other machines, with health and numbers alone', async (t) => {
  const readiness = new Readiness();
  const health = await startHealth({ listen: { host: '0.0.0.0', port: 0 }, readiness, metrics: createMetrics() });
  t.teardown(() => health[Symbol.asyncDispose]());
  const ask = (head: string) =>
    raw(health.address.port, `${head} HTTP/1.1\r\nhost: 10.1.2.3\r\nconnection: close\r\n\r\n`);
  t.match(await ask('GET /readyz'), /^HTTP\/1\.1 200 /);
  readiness.block('identity', 'none yet');
  t.match(await ask('GET /readyz'), /^HTTP\/1\.1 503 /);
  t.match(await ask('GET /healthz'), /^HTTP\/1\.1 200 /);
  t.match(await ask('GET /metrics'), /^HTTP\/1\.1 200 /);
  for (const path of ['/identity', '/connections', '/']) t.match(await ask(`GET ${path}`), /^HTTP\/1\.1 404 /, path);
  for (const path of ['/shutdown', '/renew']) t.match(await ask(`POST ${path}`), /^HTTP\/1\.1 404 /, path);
  t.match(await ask('POST /healthz'), /^HTTP\/1\.1 405 /);
});
