import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { createManagerClient } from '../../../src/api/client.ts';
import { socketClient } from '../../../src/api/client-socket.ts';
import { contextOptions } from '../../../src/api/server-tls.ts';
import { decodeToken } from '../../../src/api/token.ts';
import { PATHS } from '../../../src/api/wire.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { readIdentity } from '../../../src/pki/material.ts';
import { candidate, type Rig, startRig } from '../../support/manager/rig.ts';

let rig: Rig;
let other: Rig;
t.before(async () => {
  [rig, other] = await Promise.all([startRig(t), startRig(t)]);
});

/** Closed with the test, open connections too. */
async function listening(t: Test, server: Server): Promise<number> {
  const sockets = new Set<{ destroy(): unknown }>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** What listens with the manager's own certificate and answers whatever a test wants. */
async function impostor(t: Test, answers: RequestListener, by = rig): Promise<string> {
  const identity = await by.manager.managerIdentity();
  const server = createHttpsServer(
    { ...contextOptions(identity), requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      if (request.url !== PATHS.trust) return answers(request, response);
      const { pem, sha256, roots } = by.manager.trustBundle();
      const rootSha256 = roots.map(({ fingerprint256 }) => fingerprint256);
      const trustDomain = by.manager.trustDomain;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ bundle: pem, sha256, rootSha256, trustDomain, time: 1 }));
    },
  );
  return `https://127.0.0.1:${await listening(t, server)}`;
}

const clientOf = (address: string, timeoutMs = 5_000) =>
  createManagerClient({ address, clock: systemClock, timeoutMs });
const json =
  (value: unknown): RequestListener =>
  (_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  };

async function joining(service = 'orders') {
  const { token } = await rig.manager.tokens.create({ service });
  return { token, ...(await candidate(service)) };
}

t.test('SL-MGR-001 says which of the ways there is no manager', async (t) => {
  const { token, csr } = await joining();
  const plain = await listening(
    t,
    createHttpServer((_request, response) => response.end('hello')),
  );
  const ssh = await listening(
    t,
    createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
  );
  const hangUp = await listening(
    t,
    createTcpServer((socket) => socket.destroy()),
  );
  const closed = createTcpServer();
  const free = await listening(t, closed);
  await new Promise((resolve) => closed.close(resolve));
  const cases: ReadonlyArray<readonly [string, RegExp]> = [
    ['https://manager.invalid:9443', /does not resolve|cannot be resolved/],
    [`https://127.0.0.1:${free}`, /nothing listens there \(ECONNREFUSED\)/],
    [`https://localhost:${free}`, /nothing listens there \(ECONNREFUSED\)/],
    [`https://127.0.0.1:${plain}`, /answers in plain HTTP/],
    [`https://127.0.0.1:${ssh}`, /not TLS/],
    [`https://127.0.0.1:${hangUp}`, /closed the connection/],
  ];
  for (const [address, why] of cases) {
    await t.rejects(clientOf(address).enroll(token, csr), {
      code: 'SL-MGR-001',
      message: `the manager is not reachable at ${address}`,
      why,
    });
  }
});

t.test('F11 a manager that never answers is given up at the timeout', async (t) => {
  const { token, csr } = await joining();
  const silent = await listening(
    t,
    createTcpServer(() => {}),
  );
  const stuck = await impostor(t, () => {});
  const trickle = await impostor(t, (_request, response) => {
    response.setHeader('content-type', 'application/json');
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  });
  for (const address of [`https://127.0.0.1:${silent}`, stuck, trickle]) {
    await t.rejects(clientOf(address, 300).enroll(token, csr), {
      code: 'SL-MGR-001',
      why: 'it did not answer within 0.3 s',
    });
  }
});

t.test('F11 the caller’s signal ends a call as an abort, not as a failure', async (t) => {
  const { token, csr } = await joining();
  const stop = new AbortController();
  const address = await impostor(t, () => stop.abort());
  const client = createManagerClient({ address, clock: systemClock, signal: stop.signal });
  await t.rejects(client.enroll(token, csr), { name: 'AbortError' });
});

t.test('F10 answers that are not of our API are refused with their reason', async (t) => {
  const { token, csr } = await joining();
  const answer = await rig.client().enroll(token, csr);
  const elsewhere = await other.manager.tokens.create({ service: 'orders' });
  const strange = await other.client().enroll(elsewhere.token, csr);
  const mine = await joining('billing');
  const billing = await rig.client().enroll(mine.token, mine.csr);
  const text =
    (type: string, status: number, body: string): RequestListener =>
    (_request, response) => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    };
  const cases: Readonly<Record<string, readonly [RequestListener, RegExp]>> = {
    html: [text('text/html', 200, '<html>'), /status 200 with text\/html/],
    'status 500': [text('text/plain', 500, 'oops'), /status 500 with text\/plain/],
    redirect: [text('text/plain', 302, ''), /status 302/],
    'not JSON': [text('application/json', 200, '{'), /not of our API/],
    'no field': [json({}), /certificate: /],
    'one field more': [json({ ...answer, admin: true }), /admin/],
    '10 MB': [json({ ...answer, certificate: 'x'.repeat(10_000_000) }), /larger than 1310720 bytes/],
    'no PEM': [json({ ...answer, certificate: 'hello' }), /certificate of the answer/],
    'empty bundle': [json({ ...answer, bundle: ' ' }), /bundle/],
    'another identity': [json(billing), /another key/],
    'identity in words only': [json({ ...answer, spiffeId: billing.spiffeId }), /is for spiffe:.*orders, we are/],
    'another root': [json(strange), /none of the roots we trust/],
    'leaf of another root': [json({ ...strange, bundle: answer.bundle }), /unfit: .*\((unknown_ca|bad_signature)\)/],
    'the root as the leaf': [json({ ...answer, certificate: answer.bundle }), /another key/],
  };
  for (const [what, [listener, why]] of Object.entries(cases)) {
    const { token: fresh } = await rig.manager.tokens.create({ service: 'orders' });
    await t.rejects(clientOf(await impostor(t, listener)).enroll(fresh, csr), { code: 'SL-MGR-002', why }, what);
  }
});

t.test('F10 a certificate of the right key for another service is refused', async (t) => {
  const { token } = await joining('orders');
  const mine = await joining('billing');
  const wrong = await rig.client().enroll(mine.token, mine.csr);
  await t.rejects(clientOf(await impostor(t, json(wrong))).enroll(token, mine.csr), {
    code: 'SL-MGR-002',
    why: /is for spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/billing, we are .*orders/,
  });
});

t.test('F10 an expired certificate in an answer is refused', async (t) => {
  const { token, csr } = await joining();
  const answer = await rig.client().enroll(token, csr);
  const late = { ...systemClock, now: () => answer.notAfter + 1 };
  const address = await impostor(t, json(answer));
  const client = createManagerClient({ address, clock: late });
  const { token: fresh } = await rig.manager.tokens.create({ service: 'orders' });
  await t.rejects(client.enroll(fresh, csr), { code: 'SL-MGR-002', why: /expired/ });
});

t.test('M23 a manager with another root does not get to see the token', async (t) => {
  const { token, csr } = await joining();
  let seen = '';
  const address = await impostor(
    t,
    (request) => {
      seen += request.url;
    },
    other,
  );
  await t.rejects(clientOf(address).enroll(token, csr), { code: 'SL-TOK-005', why: /the token was not sent/ });
  t.equal(seen, '');
});

t.test('M23 nor does one that offers our root but cannot show a leaf of it', async (t) => {
  const { token, csr } = await joining();
  let seen = '';
  const identity = await other.manager.managerIdentity();
  const { pem, sha256, roots } = rig.manager.trustBundle();
  const server = createHttpsServer(contextOptions(identity), (request, response) => {
    if (request.url !== PATHS.trust) seen += request.url;
    const rootSha256 = roots.map(({ fingerprint256 }) => fingerprint256);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ bundle: pem, sha256, rootSha256, trustDomain: 'ai-teddy.local', time: 1 }));
  });
  const address = `https://127.0.0.1:${await listening(t, server)}`;
  await t.rejects(clientOf(address).enroll(token, csr), { code: 'SL-MGR-002', why: /certificate does not pass/ });
  t.equal(seen, '');
});

t.test('M23 a service of the mesh is not taken for the manager', async (t) => {
  const { token, csr } = await joining();
  const service = await rig.enroll('billing');
  let seen = '';
  const { pem, sha256, roots } = rig.manager.trustBundle();
  const server = createHttpsServer(contextOptions(service), (request, response) => {
    if (request.url !== PATHS.trust) seen += request.url;
    const rootSha256 = roots.map(({ fingerprint256 }) => fingerprint256);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ bundle: pem, sha256, rootSha256, trustDomain: 'ai-teddy.local', time: 1 }));
  });
  const address = `https://127.0.0.1:${await listening(t, server)}`;
  await t.rejects(clientOf(address).enroll(token, csr), { code: 'SL-MGR-002', why: /it is .*billing, not .*manager/ });
  t.equal(seen, '');
});

t.test('a token for another service stays here', async (t) => {
  const { token, csr } = await joining('orders');
  const nowhere = clientOf('https://127.0.0.1:1');
  await t.rejects(nowhere.enroll(token, csr, { service: 'billing', namespace: 'default' }), { code: 'SL-TOK-004' });
  await t.rejects(nowhere.enroll(token, csr, { service: 'orders', namespace: 'shop' }), {
    code: 'SL-TOK-004',
    fix: 'sidelock token create orders --namespace shop',
  });
});

t.test('what the manager refuses arrives with its code, reason and fix', async (t) => {
  const { token, csr } = await joining();
  await rig.client().enroll(token, csr);
  await t.rejects(rig.client().enroll(token, (await candidate('orders')).csr), {
    code: 'SL-TOK-002',
    message: /already used/,
    fix: 'sidelock token create orders',
    data: { status: 401 },
  });
});

t.test('a code of a later version becomes SL-MGR-003, with the words of the manager', async (t) => {
  const { token, csr } = await joining();
  const address = await impostor(t, (_request, response) => {
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'SL-NEW-001', message: 'not on Sundays', fix: 'wait', id: '1' } }));
  });
  await t.rejects(clientOf(address).enroll(token, csr), { code: 'SL-MGR-003', message: 'not on Sundays', fix: 'wait' });
});

t.test('the time to wait after too many requests is passed on', async (t) => {
  const { token, csr } = await joining();
  const address = await impostor(t, (_request, response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7' });
    response.end(JSON.stringify({ error: { code: 'SL-API-003', message: 'slow down', fix: 'wait', id: '1' } }));
  });
  await t.rejects(clientOf(address).enroll(token, csr), { code: 'SL-API-003', data: { retryAfterMs: 7000 } });
});

t.test('renewing shows the current leaf and checks the manager by the current bundle', async (t) => {
  const identity = await rig.enroll('renewing');
  const next = await candidate('renewing');
  const answer = await rig.client(identity).renew(next.csr);
  const renewed = readIdentity({ cert: answer.certificate, key: next.keyPem, ca: answer.bundle }, { now: Date.now() });
  t.equal(renewed.spiffeId.uri, identity.spiffeId.uri);
  t.not(renewed.leaf.serial, identity.leaf.serial);
  const stranger = createManagerClient({ address: other.url, clock: systemClock, identity: () => identity });
  await t.rejects(stranger.renew(next.csr), { code: 'SL-MGR-002', why: /certificate does not pass/ });
  await t.rejects(stranger.trust(), { code: 'SL-MGR-002' });
});

t.test('a token says where to go and what to expect, and nothing else is needed', async (t) => {
  const { token } = await joining();
  const { claims } = decodeToken(`${token}\n`);
  t.match(claims, { addr: rig.url, root: rig.manager.ca.rootSha256, sub: 'orders' });
  for (const bad of ['', 'slk_', 'hello', token.slice(0, 50)]) t.throws(() => decodeToken(bad), { code: 'SL-TOK-001' });
});

t.test('admin calls name the socket when no manager runs there', async (t) => {
  await t.rejects(socketClient('/nonexistent/manager.sock').status(), {
    code: 'SL-MGR-001',
    message: /\/nonexistent\/manager\.sock/,
    why: /no such socket/,
  });
});
