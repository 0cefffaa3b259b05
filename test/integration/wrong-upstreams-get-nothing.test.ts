import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { DAY, extKeyUsage, PURPOSE } from '../support/badcert.ts';
import { type TestAuthority, type Trio, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

t.test('no byte of the app reaches a peer that is not the one expected', async (t) => {
  const authority = testAuthority();
  const other = testAuthority('Other-CA');

  const rows: Array<{ name: string; reason: string; code: string; trio: Trio }> = [
    { name: 'another service', reason: 'peer_wrong_identity', code: 'SL-TLS-006', trio: authority.issue('billing') },
    { name: 'a CA we do not trust', reason: 'peer_chain_incomplete', code: 'SL-TLS-003', trio: other.issue('orders') },
    {
      name: 'expired',
      reason: 'peer_expired',
      code: 'SL-TLS-004',
      trio: authority.issue('orders', { notBefore: Date.now() - 2 * DAY, notAfter: Date.now() - DAY }),
    },
    {
      name: 'wrong extended key usage',
      reason: 'peer_wrong_eku',
      code: 'SL-TLS-010',
      trio: authority.issue('orders', { extensions: { eku: extKeyUsage(PURPOSE.client) } }),
    },
  ];
  for (const { name, reason, code, trio } of rows) {
    await t.test(name, async (t) => {
      const peer = await startPeer(t, trio, authority);
      const failure = await callThrough(t, authority, peer.port, reason);
      t.match(failure.line, { event: 'handshake_failed', code, reason, direction: 'outbound', fix: String });
      t.equal(peer.received(), 0, 'the peer received no byte of the app');
      t.equal(failure.error, 'ECONNRESET', 'the app gets an error, never a clean end');
    });
  }
});

t.test('a peer that is no TLS server is named as such', async (t) => {
  const authority = testAuthority();
  const banner = await startApp(t, (socket) => socket.end('220 mail.example ESMTP\r\n'));
  const { line } = await callThrough(t, authority, banner, 'peer_not_tls');
  t.match(line, { code: 'SL-TLS-002' });
});

t.test('a peer that never answers the handshake is given up after its time', async (t) => {
  const authority = testAuthority();
  const mute = await startApp(t, (socket) => socket.resume());
  const { line } = await callThrough(t, authority, mute, 'handshake_timeout');
  t.match(line, { code: 'SL-TLS-008' });
});

t.test('a peer that refuses us after the handshake is told from one that works', async (t) => {
  const authority = testAuthority();
  const app = await startApp(t, echo);
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target: { host: '127.0.0.1', port: app }, allow: ['somebody-else'] },
  });
  const { line } = await callThrough(t, authority, orders.mtls.port, 'closed_after_handshake');
  t.match(line, { code: 'SL-TLS-007', self: { serial: String } });
});

t.test('nothing listens there', async (t) => {
  const authority = testAuthority();
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: { host: '127.0.0.1', port: 1 } },
  });
  t.equal(await call(web.local.port), 'ECONNRESET');
  await until(() => web.events('upstream_down').length === 1);
  t.match(web.events('upstream_down'), [{ code: 'SL-UP-001', reason: 'refused', upstream: '127.0.0.1:1' }]);
  t.equal(await web.metric('sidelock_upstream_errors_total{listener="out",reason="refused"}'), 1);
});

t.test('a name that does not resolve', async (t) => {
  const authority = testAuthority();
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: { host: 'orders.invalid', port: 443 } },
  });
  t.equal(await call(web.local.port), 'ECONNRESET');
  await until(() => web.events('upstream_down').length === 1);
  t.match(web.events('upstream_down'), [{ reason: 'dns' }]);
});

/** A TLS server that answers whoever comes, with a certificate of the test's choice. */
async function startPeer(t: Test, trio: Trio, authority: TestAuthority) {
  let bytes = 0;
  const server = createTlsServer(
    { cert: trio.cert, key: trio.key, ca: authority.root.pem, requestCert: true, rejectUnauthorized: false },
    (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
    },
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  return { port: address.port, received: () => bytes };
}

/** Calls the port as `web`'s app would, and waits for the line with `reason`. */
async function callThrough(t: Test, authority: TestAuthority, port: number, reason: string) {
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: { host: '127.0.0.1', port } },
    limits: { handshakeTimeoutMs: 300 },
  });
  const error = await call(web.local.port);
  const line = () => web.lines.find((found) => found['reason'] === reason);
  await until(() => line() !== undefined);
  return { error, line: line() };
}

/** Sends a secret and resolves with how the connection ended. */
function call(port: number): Promise<string> {
  const socket: Socket = connect({ host: '127.0.0.1', port });
  socket.write('secret');
  socket.resume();
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.once('close', () => resolve('closed'));
  });
}
