import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { DAY, extKeyUsage, keyPem, makeRoot, PURPOSE, subjectAltName, uri } from '../support/badcert.ts';
import { spiffeIdOf, type Trio, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

/** A caller that should be refused: what it shows or sends, and the closed reason of the line that explains it. */
interface Row {
  readonly name: string;
  readonly reason: string;
  readonly code: string;
  readonly call: (port: number) => Socket;
  /** What the line must say besides. */
  readonly why?: RegExp;
}

t.test('a caller that must not get in is refused with a reason, and the app sees nothing of it', async (t) => {
  const authority = testAuthority();
  const other = testAuthority('Other-CA');
  let reached = 0;
  const app = await startApp(t, (socket) => {
    socket.on('data', () => reached++);
  });
  const target = { host: '127.0.0.1', port: app };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, allow: ['web'] },
    limits: { handshakeTimeoutMs: 300 },
  });

  const rows: Row[] = [
    {
      name: 'no certificate',
      reason: 'client_no_certificate',
      code: 'SL-TLS-005',
      call: (p) => tls(p, {}),
      why: /^showed no certificate$/,
    },
    {
      name: 'self-signed',
      reason: 'client_self_signed',
      code: 'SL-TLS-003',
      call: (p) => tls(p, selfSignedLeaf()),
    },
    {
      name: 'a CA we do not trust',
      reason: 'client_chain_incomplete',
      code: 'SL-TLS-003',
      call: (p) => tls(p, of(other.issue('web'))),
      why: /Other-CA/,
    },
    {
      name: 'expired',
      reason: 'client_expired',
      code: 'SL-TLS-004',
      call: (p) => tls(p, of(authority.issue('web', { notBefore: Date.now() - 2 * DAY, notAfter: Date.now() - DAY }))),
    },
    {
      name: 'not yet valid',
      reason: 'client_not_yet_valid',
      code: 'SL-TLS-004',
      call: (p) => tls(p, of(authority.issue('web', { notBefore: Date.now() + DAY, notAfter: Date.now() + 2 * DAY }))),
    },
    {
      name: 'wrong extended key usage',
      reason: 'client_wrong_eku',
      code: 'SL-TLS-010',
      call: (p) => tls(p, of(authority.issue('web', { extensions: { eku: extKeyUsage(PURPOSE.server) } }))),
    },
    {
      name: 'another trust domain',
      reason: 'client_other_trust_domain',
      code: 'SL-TLS-010',
      call: (p) =>
        tls(
          p,
          of(
            authority.issue('web', {
              extensions: { san: subjectAltName(uri('spiffe://evil.local/ns/default/sa/web')) },
            }),
          ),
        ),
    },
    {
      name: 'an identity that is not allowed',
      reason: 'caller_not_listed',
      code: 'SL-AUTHZ-001',
      call: (p) => tls(p, of(authority.issue('billing'))),
      why: /ns\/default\/sa\/web/,
    },
    {
      name: 'plain HTTP',
      reason: 'plaintext_http',
      code: 'SL-TLS-002',
      call: (p) => raw(p, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
    },
    {
      name: 'PostgreSQL asking for TLS',
      reason: 'plaintext_other',
      code: 'SL-TLS-002',
      call: (p) => raw(p, Buffer.from('0000000804d2162f', 'hex')),
    },
    { name: 'garbage', reason: 'plaintext_other', code: 'SL-TLS-002', call: (p) => raw(p, Buffer.alloc(64, 0xa7)) },
    {
      name: 'TLS 1.2',
      reason: 'version_mismatch',
      code: 'SL-TLS-009',
      call: (p) => tls(p, { ...of(authority.issue('web')), maxVersion: 'TLSv1.2' }),
    },
    {
      name: 'half a ClientHello and silence',
      reason: 'handshake_timeout',
      code: 'SL-TLS-008',
      call: (p) => raw(p, Buffer.from('16030100', 'hex')),
    },
    {
      name: 'a slow trickle',
      reason: 'handshake_timeout',
      code: 'SL-TLS-008',
      call: (p) => {
        const socket = raw(p, Buffer.from('1603010200010001fc0303', 'hex'));
        const more = setInterval(() => socket.write(Buffer.alloc(1)), 20);
        socket.once('close', () => clearInterval(more));
        return socket;
      },
    },
    {
      name: 'a caller of Node that does not trust us leaves without a word',
      reason: 'client_left',
      code: 'SL-TLS-001',
      call: (p) => tls(p, { ...of(authority.issue('web')), ca: other.root.pem, rejectUnauthorized: true }),
    },
  ];

  const counted = new Map<string, number>();
  for (const row of rows) {
    await t.test(row.name, async (t) => {
      const before = orders.lines.length;
      const socket = row.call(orders.mtls.port);
      socket.on('error', () => {});
      socket.resume();
      await closed(socket);
      const series =
        row.reason === 'caller_not_listed'
          ? 'sidelock_authz_total{listener="in",result="denied",reason="caller_not_listed"}'
          : `sidelock_handshakes_total{direction="inbound",listener="in",result="failed",reason="${row.reason}"}`;
      const count = 1 + (counted.get(row.reason) ?? 0);
      counted.set(row.reason, count);
      await until(async () => (await orders.metric(series)) === count);
      // The same refusal of the same caller within ten seconds is counted, and written once.
      if (count > 1) return t.equal(orders.lines.length, before);
      const line = orders.lines[before];
      t.match(line, { level: 40, reason: row.reason, code: row.code, fix: String, listener: 'in' });
      return t.match(line, { why: row.why ?? String });
    });
  }
  t.equal(reached, 0, 'not one byte reached the app');
  t.equal(orders.sidecar.connections().length, 0);

  t.test('a port probe is counted and not logged', async (t) => {
    const before = orders.lines.length;
    const socket = connect(orders.mtls);
    await once(socket, 'connect');
    socket.end();
    socket.resume();
    await closed(socket);
    const series = 'sidelock_handshakes_total{direction="inbound",listener="in",result="failed",reason="port_probe"}';
    await until(async () => (await orders.metric(series)) === 1);
    t.equal(orders.lines.length, before);
  });

  t.test('a good caller is served after all of that', async (t) => {
    const socket = tls(orders.mtls.port, of(authority.issue('web')));
    await once(socket, 'connect');
    socket.write('now');
    await until(() => reached === 1);
    t.pass('its byte arrived');
    socket.destroy();
  });
});

t.test('an app that is down: the caller gets an error at once, the line names the target', async (t) => {
  const authority = testAuthority();
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    // Port 1 of loopback: nothing listens there, and binding it needs a privilege.
    inbound: { target: { host: '127.0.0.1', port: 1 }, allow: 'any' },
  });
  const web = await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address: orders.mtls } });
  const socket = connect(web.local);
  socket.write('x');
  t.match(await once(socket.resume(), 'error'), [{ code: 'ECONNRESET' }]);
  await until(() => orders.events('target_down').length === 1);
  t.match(orders.events('target_down'), [{ code: 'SL-APP-001', target: '127.0.0.1:1', reason: 'refused' }]);
  t.equal(await orders.metric('sidelock_target_errors_total{listener="in",reason="refused"}'), 1);
});

t.test('a connection limit refuses the one too many and serves on', async (t) => {
  const authority = testAuthority();
  const app = await startApp(t, echo);
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target: { host: '127.0.0.1', port: app }, allow: 'any' },
    limits: { maxConnections: 1 },
  });
  const first = tls(orders.mtls.port, of(authority.issue('web')));
  first.write('1');
  await once(first, 'data');
  const second = tls(orders.mtls.port, of(authority.issue('web')));
  second.on('error', () => {});
  await closed(second);
  t.equal(
    await orders.metric('sidelock_connections_refused_total{direction="inbound",listener="in",reason="limit"}'),
    1,
  );
  first.end();
  first.resume();
  await closed(first);
  await until(() => orders.sidecar.connections().length === 0);
  const third = tls(orders.mtls.port, of(authority.issue('web')));
  third.write('3');
  await once(third, 'data');
  third.destroy();
  t.pass('there is room again');
});

/** Unlike events.once, does not reject for an error on the way. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

function selfSignedLeaf(): ConnectionOptions {
  const leaf = makeRoot({
    extensions: {
      bc: undefined,
      eku: extKeyUsage(PURPOSE.client, PURPOSE.server),
      san: subjectAltName(uri(spiffeIdOf('web'))),
    },
  });
  return { cert: leaf.pem, key: keyPem(leaf) };
}

function of(trio: Trio): ConnectionOptions {
  return { cert: trio.cert, key: trio.key };
}

function tls(port: number, options: ConnectionOptions): Socket {
  return tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
}

function raw(port: number, bytes: Buffer | string): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(bytes);
  return socket;
}
