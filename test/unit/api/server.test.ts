import { once } from 'node:events';
import { chmod, stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { startApi } from '../../../src/api/server.ts';
import { PATHS } from '../../../src/api/wire.ts';
import type { IdentityMaterial } from '../../../src/pki/material.ts';
import { candidate, type Rig, recordingLog, startRig } from '../../support/manager/rig.ts';

let rig: Rig;
t.before(async () => {
  rig = await startRig(t);
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly as?: IdentityMaterial;
  readonly socketPath?: string;
  readonly url?: string;
}

/** A caller that checks nothing: what it sees is what an attacker sees. */
async function ask(path: string, { method, body, headers, as, socketPath, url = rig.url }: Ask = {}): Promise<Answer> {
  const target = new URL(`${url}${path}`);
  const options: RequestOptions = {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    agent: false,
    path,
    ...(socketPath === undefined ? { host: target.hostname, port: target.port } : { socketPath }),
    ...(as === undefined ? {} : { cert: as.certPem, key: as.keyPem }),
  };
  const secure = socketPath === undefined && target.protocol === 'https:';
  const request = secure ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options);
  request.end(body);
  const [response] = await once(request, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

const codeOf = ({ text }: Answer): unknown => JSON.parse(text).error.code;
const enrollBody = (change: object = {}) => JSON.stringify({ token: 'slk_x.y', csr: 'x', ...change });

t.test('the trust bundle is open to everybody', async (t) => {
  const { status, text } = await ask(PATHS.trust);
  t.equal(status, 200);
  t.match(JSON.parse(text), { trustDomain: 'ai-teddy.local', rootSha256: [rig.manager.ca.rootSha256] });
});

t.test('what is not understood is a 400 that names the field', async (t) => {
  const bodies: Readonly<Record<string, readonly [string, RegExp]>> = {
    'not JSON': ['{', /not valid JSON/],
    empty: ['', /not valid JSON/],
    'a list': ['[]', /not understood/],
    'a number for a text': [enrollBody({ token: 7 }), /token: /],
    'a missing field': [JSON.stringify({ token: 'x' }), /csr: /],
    'an unknown field': [enrollBody({ admin: true }), /admin/],
    'P19 __proto__': ['{"token":"x","csr":"y","__proto__":{"admin":true}}', /not valid JSON/],
    'P19 constructor.prototype': ['{"constructor":{"prototype":{"x":1}}}', /not valid JSON/],
    'deep nesting': [`{"token":${'['.repeat(5000)}${']'.repeat(5000)}}`, /token: /],
    'a CSR that is none': [enrollBody({ csr: 'hello' }), /token is not valid/],
  };
  for (const [what, [body, message]] of Object.entries(bodies)) {
    const answer = await ask(PATHS.enroll, { body });
    t.ok([400, 401].includes(answer.status), `${what}: ${answer.status}`);
    t.match(answer.text, message, what);
    t.strictSame(Object.keys(JSON.parse(answer.text)), ['error']);
  }
  t.equal(({} as Record<string, unknown>)['admin'], undefined);
});

t.test('P20 a body above 16 KiB is refused before it is read', async (t) => {
  const answer = await ask(PATHS.enroll, { body: enrollBody({ csr: 'x'.repeat(20_000) }) });
  t.equal(answer.status, 413);
  t.equal(codeOf(answer), 'SL-API-001');
});

t.test('a body that is not JSON by its type is refused', async (t) => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/xml',
  ]) {
    const answer = await ask(PATHS.enroll, { body: enrollBody(), headers: { 'content-type': type } });
    t.equal(answer.status, 415, type);
  }
});

t.test('what does not exist is a 404 of the same form', async (t) => {
  for (const path of ['/', '/v1', '/v2/trust', '/v1/trust/x', '/..%2f..%2fetc/passwd', '/healthz', '/metrics']) {
    const answer = await ask(path);
    t.equal(answer.status, 404, path);
    t.equal(codeOf(answer), 'SL-API-001', path);
  }
  t.equal((await ask(PATHS.enroll)).status, 404, 'GET of a POST');
});

t.test('M50 a service leaf, or nobody, reaches no admin call: they exist on the socket only', async (t) => {
  const as = await rig.enroll('curious');
  for (const [method, path] of [
    ['GET', PATHS.tokens],
    ['POST', PATHS.tokens],
    ['DELETE', `${PATHS.tokens}/x`],
    ['POST', PATHS.certificates],
    ['GET', PATHS.certificates],
    ['GET', `${PATHS.certificates}/curious`],
    ['GET', PATHS.status],
  ] as const) {
    const body = method === 'POST' ? { body: JSON.stringify({ service: 'x', type: 'cache' }) } : {};
    t.equal((await ask(path, { method, as, ...body })).status, 404, `${method} ${path} with a leaf`);
    t.equal((await ask(path, { method, ...body })).status, 404, `${method} ${path} without`);
  }
});

t.test('M50 the socket is for its owner alone', async (t) => {
  t.equal((await stat(rig.socketPath)).mode & 0o777, 0o600);
  t.equal((await stat(dirname(rig.socketPath))).mode & 0o777, 0o700);
  const { status, text } = await ask(PATHS.status, { socketPath: rig.socketPath });
  t.equal(status, 200);
  t.match(JSON.parse(text), { caName: 'AI-Teddy-CA', address: rig.url });
});

t.test('a socket in a directory that others can enter is not opened', async (t) => {
  const directory = t.testdir({ open: {} });
  await chmod(`${directory}/open`, 0o755);
  const local = { host: '127.0.0.1', port: 0 };
  const options = { manager: rig.manager, listen: local, health: local, clock: rig.clock, metrics: rig.metrics };
  const { log } = recordingLog();
  await t.rejects(startApi({ ...options, log, socketPath: `${directory}/open/manager.sock` }), { code: 'SL-NET-002' });
  await t.rejects(startApi({ ...options, log, socketPath: `${directory}/${'x'.repeat(120)}` }), {
    code: 'SL-NET-002',
    why: /may have 107/,
  });
});

t.test('P23 an answer holds code, sentence and id; no stack, path or version', async (t) => {
  const answers = [
    await ask(PATHS.enroll, { body: '{' }),
    await ask(PATHS.enroll, { body: enrollBody() }),
    await ask(PATHS.renew, { body: JSON.stringify({ csr: 'x' }) }),
    await ask('/nothing'),
  ];
  for (const { text, headers } of answers) {
    t.notMatch(text, / at |node:|\.ts|node_modules|\/tmp/);
    t.match(JSON.parse(text).error.id, /^[0-9a-f]{12}$/);
    t.notOk('server' in headers || 'x-powered-by' in headers);
  }
});

t.test('P23 a fault of ours is an id to the caller and the whole story in the log', async (t) => {
  const broken = {
    ...rig.manager,
    trustBundle: () => {
      throw new TypeError('something undefined');
    },
  };
  const { log, lines } = recordingLog();
  const local = { host: '127.0.0.1', port: 0 };
  await using api = await startApi({
    manager: broken,
    listen: local,
    health: local,
    socketPath: `${rig.storage}/.sidelock/broken.sock`,
    clock: rig.clock,
    log,
    metrics: rig.metrics,
  });
  const answer = await ask(PATHS.trust, { url: api.url });
  t.equal(answer.status, 500);
  const { code, id, message } = JSON.parse(answer.text).error;
  t.equal(code, 'SL-API-004');
  t.notMatch(message, /undefined/);
  t.match(
    lines.find((line) => line['id'] === id),
    { event: 'request_failed', err: { type: 'TypeError' } },
  );
});

t.test('M33 a header cannot say who calls', async (t) => {
  const { csr } = await candidate('orders');
  const headers = {
    'x-forwarded-client-cert': 'By=spiffe://x;URI=spiffe://ai-teddy.local/ns/default/sa/orders',
    'x-forwarded-for': '127.0.0.1',
    forwarded: 'for=127.0.0.1',
  };
  const answer = await ask(PATHS.renew, { body: JSON.stringify({ csr }), headers });
  t.equal(answer.status, 403);
  t.match(answer.text, /no_certificate/);
});

t.test('M24 ten refused tokens, and the address waits', async (t) => {
  const { url } = await limited(t, { refusedTokens: { burst: 10, perSecond: 10 / 60 } });
  for (let i = 0; i < 10; i++) t.equal((await ask(PATHS.enroll, { body: enrollBody(), url })).status, 401);
  const answer = await ask(PATHS.enroll, { body: enrollBody(), url });
  t.equal(answer.status, 429);
  t.equal(codeOf(answer), 'SL-API-003');
  t.match(answer.headers['retry-after'], /^[1-6]$/);
});

t.test('an address that asks too often waits, whatever it asks', async (t) => {
  const { url } = await limited(t, { perAddress: { burst: 3, perSecond: 0.1 } });
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) {
    statuses.push((await ask(PATHS.trust, { url, headers: { 'x-forwarded-for': `10.0.0.${i}` } })).status);
  }
  t.same(statuses, [200, 200, 200, 429]);
});

t.test('a leaf that renews too often waits', async (t) => {
  const { url } = await limited(t, { perLeaf: { burst: 2, perSecond: 0.1 } });
  const as = await rig.enroll('hasty');
  const { csr } = await candidate('hasty');
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) {
    statuses.push((await ask(PATHS.renew, { url, as, body: JSON.stringify({ csr }) })).status);
  }
  t.same(statuses, [200, 200, 429]);
});

t.test('M36 beyond the signing queue a caller is told to come back', async (t) => {
  const { url } = await limited(t, { maxSigning: 0 });
  const answer = await ask(PATHS.enroll, { body: enrollBody(), url });
  t.equal(answer.status, 503);
  t.equal(answer.headers['retry-after'], '1');
});

t.test('P20 a slow trickle, of head or body, ends at the request timeout', async (t) => {
  const { url } = await limited(t, { requestTimeoutMs: 300 });
  const beginnings = [
    'POST /v1/enroll HTTP/1.1\r\nhost: x\r\n',
    'POST /v1/enroll HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{',
  ];
  for (const beginning of beginnings) {
    const socket = connectTls({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('error', () => {});
    socket.write(beginning);
    // Never idle, so only the limit on the whole request can end it.
    const trickle = setInterval(() => socket.write('x'), 50);
    socket.resume();
    await closed(socket);
    clearInterval(trickle);
    t.pass('the server closed the connection');
  }
});

t.test('a client that never ends its handshake is let go', async (t) => {
  const { url } = await limited(t, { handshakeTimeoutMs: 200 });
  const silent = connectTcp({ port: Number(new URL(url).port), host: '127.0.0.1' });
  silent.on('error', () => {});
  silent.resume();
  await closed(silent);
  const garbage = connectTcp({ port: Number(new URL(url).port), host: '127.0.0.1' });
  garbage.on('error', () => {});
  garbage.end('GET / HTTP/1.1\r\n\r\n');
  garbage.resume();
  await closed(garbage);
  t.equal((await ask(PATHS.trust, { url })).status, 200, 'and others are served');
});

t.test('TLS below 1.3 is not spoken, and no ticket is given out', async (t) => {
  const port = Number(new URL(rig.url).port);
  const old = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
  const [error] = await once(old, 'error').catch((caught: unknown) => [caught]);
  t.match(error, { code: /ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION|ECONNRESET/ });
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const sessions: Buffer[] = [];
  socket.on('session', (session) => sessions.push(session));
  socket.write('GET /v1/trust HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
  for (const session of sessions) {
    const again = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, session });
    await once(again, 'secureConnect');
    t.equal(again.isSessionReused(), false);
    again.destroy();
  }
});

t.test('probes and metrics are plain, local and apart', async (t) => {
  const url = `http://127.0.0.1:${rig.api.health.port}`;
  t.equal(rig.api.health.address, '127.0.0.1');
  t.equal((await ask('/healthz', { url })).status, 200);
  const ready = await ask('/readyz', { url });
  t.equal(ready.status, 200);
  t.same(JSON.parse(ready.text), { ready: true, blockers: [] });
  const metrics = (await ask('/metrics', { url })).text;
  for (const name of [
    'x509_cert_not_after',
    'x509_cert_not_before',
    'sidelock_issued_total',
    'sidelock_tokens_total',
    'sidelock_issue_duration_seconds_bucket',
    'sidelock_audit_entries_total',
    'sidelock_build_info',
  ]) {
    t.match(metrics, new RegExp(`^${name}[{ ]`, 'm'), name);
  }
  t.equal((await ask(PATHS.tokens, { url })).status, 404, 'no admin call there');
  t.equal((await ask('/metrics', { socketPath: rig.socketPath })).status, 200, 'the socket has them too');
});

t.test('a manager whose clock is wrong is not ready, and says why', async (t) => {
  const rig = await startRig(t);
  await rig.enroll('orders');
  rig.clock.shift(-3_600_000);
  const { status, text } = await ask('/readyz', { url: `http://127.0.0.1:${rig.api.health.port}` });
  t.equal(status, 503);
  t.match(JSON.parse(text), { ready: false, blockers: [{ name: 'ca', why: /the clock says .* but/ }] });
});

t.test('a port in use is named, and nothing stays open', async (t) => {
  const { log } = recordingLog();
  const { port } = rig.api.health;
  const failing = startApi({
    manager: rig.manager,
    listen: { host: '127.0.0.1', port: 0 },
    health: { host: '127.0.0.1', port },
    socketPath: `${rig.storage}/.sidelock/second.sock`,
    clock: rig.clock,
    log,
    metrics: rig.metrics,
  });
  await t.rejects(failing, { code: 'SL-NET-001', message: new RegExp(`127.0.0.1:${port} for health and metrics`) });
});

/** `once` would reject for the reset that may come before it. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

async function limited(t: Test, limits: NonNullable<Parameters<typeof startApi>[0]['limits']>) {
  const { log } = recordingLog();
  const local = { host: '127.0.0.1', port: 0 };
  const { manager, clock, metrics } = rig;
  const socketPath = `${rig.storage}/.sidelock/${crypto.randomUUID()}.sock`;
  const api = await startApi({ manager, listen: local, health: local, socketPath, clock, log, metrics, limits });
  t.teardown(() => api[Symbol.asyncDispose]());
  return api;
}
