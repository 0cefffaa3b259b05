import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { INITIAL_WINDOW } from '../../src/sidecar/mux/frame.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { echo, readAll, startApp, startNode, startPair } from '../support/mesh.ts';
import { frame } from '../support/mux.ts';
import { until } from '../support/until.ts';

const SHARED = 'sidelock_links{direction="outbound",listener="out",kind="shared"}';
const OWN = 'sidelock_links{direction="outbound",listener="out",kind="own"}';
const HANDSHAKES = 'sidelock_handshakes_total{direction="outbound"';

const dial = (port: number): Socket => {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
};

/** One question and its answer on a connection that stays open. */
async function ask(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [answer] = await once(socket, 'data');
  return String(answer);
}

t.test('callers that come at once wait for one handshake, and all are served', async (t) => {
  const { web, orders } = await startPair(t, echo);
  const sockets = Array.from({ length: 100 }, () => dial(web.local.port));
  const answers = await Promise.all(sockets.map((socket, i) => ask(socket, `caller ${i}`)));
  t.same(
    answers,
    sockets.map((_, i) => `caller ${i}`),
  );
  t.equal(await web.metric(HANDSHAKES), 1);
  t.equal(await web.metric(SHARED), 1);
  t.equal(await web.metric('sidelock_link_streams{direction="outbound"'), 100);
  t.equal(await orders.metric('sidelock_link_streams{direction="inbound"'), 100);
  t.ok((await web.metric('sidelock_link_frames_total')) >= 200);
  t.ok((await web.metric('sidelock_link_flush_bytes_count')) > 0);
  t.equal(await orders.metric('sidelock_link_window_bytes{direction="inbound",listener="in"}'), 100 * INITIAL_WINDOW);
  t.equal(await orders.metric('sidelock_link_held_bytes'), 0);
  t.ok((await web.metric(SHARED.replace('links', 'link_age_seconds_max'))) > 0);
  for (const socket of sockets) socket.destroy();
  await until(() => web.sidecar.connections().length === 0 && orders.sidecar.connections().length === 0);
  t.equal(await web.metric('sidelock_link_streams'), 0);
});

t.test('callers that wait for a peer that is not there are refused together', async (t) => {
  const authority = testAuthority();
  const nobody = { host: '127.0.0.1', port: 1 };
  const web = await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address: nobody } });
  const ends = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(web.local);
      const [error] = await once(socket.resume(), 'error');
      return error.code;
    }),
  );
  t.same(new Set(ends), new Set(['ECONNRESET']));
  t.ok((await web.metric('sidelock_upstream_errors_total')) < 20);
});

for (const [here, there] of [
  [false, true],
  [true, false],
] as const) {
  t.test(`streams ${here ? 'on' : 'off'} here and ${there ? 'on' : 'off'} there: own connections`, async (t) => {
    const authority = testAuthority();
    const app = { host: '127.0.0.1', port: await startApp(t, echo) };
    const orders = await startNode(t, {
      service: 'orders',
      authority,
      inbound: { target: app, allow: ['web'] },
      streams: there,
    });
    const web = await startNode(t, {
      service: 'web',
      authority,
      outbound: { service: 'orders', address: orders.mtls },
      streams: here,
    });
    const sockets = Array.from({ length: 5 }, () => dial(web.local.port));
    await Promise.all(sockets.map((socket) => ask(socket, 'x')));
    t.equal(await web.metric(OWN), 5);
    t.equal(await web.metric(SHARED), 0);
    t.match(
      web.sidecar.connections(),
      Array.from({ length: 5 }, () => ({ kind: 'own' })),
    );
    for (const socket of sockets) socket.destroy();
  });
}

t.test('a peer that refuses the offer of streams is asked again without', async (t) => {
  const authority = testAuthority();
  const { cert, key } = authority.issue('orders');
  const server = createTlsServer(
    { cert, key, ca: authority.root.pem, requestCert: true, ALPNProtocols: ['http/1.1'] },
    (socket) => {
      socket.on('error', () => {});
      echo(socket);
    },
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: { host: '127.0.0.1', port: address.port } },
  });
  const sockets = Array.from({ length: 3 }, () => dial(web.local.port));
  t.same(await Promise.all(sockets.map((socket) => ask(socket, 'x'))), ['x', 'x', 'x']);
  t.equal(await web.metric(OWN), 3);
  t.same(web.events('handshake_failed'), []);
  for (const socket of sockets) socket.destroy();
});

t.test('a caller with protocols of its own is served as before', async (t) => {
  const { orders, authority } = await startPair(t, echo);
  const { cert, key } = authority.issue('web');
  for (const [offer, chosen] of [
    [['h2', 'http/1.1'], 'http/1.1'],
    [['h2'], 'h2'],
    [[], false],
  ] as const) {
    const ALPNProtocols = [...offer];
    const socket = tlsConnect({ ...orders.mtls, cert, key, rejectUnauthorized: false, ALPNProtocols });
    t.equal(await ask(socket, 'x'), 'x');
    t.equal(socket.alpnProtocol, chosen);
    socket.destroy();
  }
});

for (const userBuffers of [true, false]) {
  const how = userBuffers ? 'user buffers' : 'data events';
  t.test(`an app that never reads stalls its own stream while others run, on ${how}`, async (t) => {
    const { web, orders } = await startPair(
      t,
      (socket) =>
        socket.once('data', (first) => {
          if (first[0] === 0) return socket.pause();
          socket.write(first);
          return echo(socket);
        }),
      { userBuffers },
    );
    const stalled = Array.from({ length: 5 }, () => dial(web.local.port));
    for (const socket of stalled) socket.write(Buffer.alloc(64 << 20));
    await until(() => orders.sidecar.connections().length === 5);
    const body = randomBytes(16 << 20).fill(1, 0, 1);
    const socket = dial(web.local.port);
    socket.end(body);
    t.ok((await readAll(socket)).equals(body), 'others pass at their own pace');
    for (const { received, sent } of orders.sidecar.connections()) {
      // What is more than the window sits in the buffers of the system, in front of the app.
      t.ok(received < 16 << 20, `${received} bytes taken of a stream that nobody reads`);
      t.equal(sent, 0);
    }
    t.equal(await web.metric(SHARED), 1);
    for (const one of stalled) one.destroy();
  });

  t.test(`resets and half-closes in the middle of bodies disturb no neighbour, on ${how}`, async (t) => {
    const { web, orders } = await startPair(
      t,
      (socket) => {
        socket.once('data', (first: Buffer) => {
          const kind = first[0] ?? 0;
          // 0: the app resets mid-body; 1: it answers, and ends, before it has the question; 2: it echoes.
          if (kind === 0) setImmediate(() => socket.resetAndDestroy());
          else if (kind === 1) socket.end('enough');
          else socket.write(first);
          if (kind === 2) echo(socket);
          else socket.resume();
        });
      },
      { userBuffers },
    );
    const ends = await Promise.all(
      Array.from({ length: 120 }, async (_, i) => {
        const kind = i % 4;
        const body = Buffer.concat([Buffer.from([kind === 3 ? 2 : kind]), randomBytes(300_000 + i * 7)]);
        const socket = dial(web.local.port);
        socket.end(body);
        if (kind === 3) {
          await once(socket, 'data');
          socket.resetAndDestroy();
          return 'as wanted';
        }
        const answer = await readAll(socket).catch((error: NodeJS.ErrnoException) => error.code);
        if (kind === 0) return answer === 'ECONNRESET' ? 'as wanted' : String(answer).slice(0, 20);
        const wanted = kind === 1 ? Buffer.from('enough') : body;
        return Buffer.isBuffer(answer) && answer.equals(wanted)
          ? 'as wanted'
          : `kind ${kind}: ${String(answer).slice(0, 20)}`;
      }),
    );
    t.same(new Set(ends), new Set(['as wanted']));
    await until(() => web.sidecar.connections().length + orders.sidecar.connections().length === 0);
    t.equal(await web.metric('sidelock_link_streams'), 0);
    t.equal(await web.metric(HANDSHAKES), 1);
    t.same([...web.events('link_broke'), ...orders.events('link_broke')], []);
  });
}

t.test(
  'a new identity: new streams soon on a new connection, old ones go on, the old connection ends with its last',
  async (t) => {
    const { web, orders, authority } = await startPair(t, echo);
    const old = dial(web.local.port);
    await ask(old, 'before');
    for (const [node, service] of [
      [web, 'web'],
      [orders, 'orders'],
    ] as const) {
      const next = authority.issue(service);
      await swap(node.directory, next);
      await until(() => node.sidecar.identity()?.serial === next.serial);
      await until(async () => {
        const young = dial(web.local.port);
        t.equal(await ask(young, 'after'), 'after');
        const shown = web.sidecar.connections().at(-1);
        young.destroy();
        return shown?.[service === 'web' ? 'self' : 'peer']?.serial === next.serial;
      });
    }
    t.equal(await ask(old, 'still here'), 'still here');
    const closed = 'sidelock_links_closed_total{direction="outbound",listener="out",reason="done"}';
    old.destroy();
    await until(() => web.sidecar.connections().length === 0);
    await until(async () => (await web.metric(closed)) >= 2);
    // It ended for us; its socket is gone when the peer has closed too.
    await until(async () => (await web.metric(SHARED)) === 1);
  },
);

t.test('a connection that was replaced ends after its grace, whatever its streams do', async (t) => {
  const { web, authority } = await startPair(t, echo, { limits: { linkGraceMs: 1 } });
  const old = dial(web.local.port);
  await ask(old, 'before');
  await swap(web.directory, authority.issue('web'));
  const [error] = await once(old, 'error');
  t.equal(error.code, 'ECONNRESET');
  t.equal(await ask(dial(web.local.port), 'after'), 'after');
});

t.test('past 256 streams another connection shares them', async (t) => {
  const { web } = await startPair(t, echo);
  const sockets: Socket[] = [];
  const more = async (n: number) => {
    const fresh = Array.from({ length: n }, () => dial(web.local.port));
    sockets.push(...fresh);
    await Promise.all(fresh.map((socket) => ask(socket, 'x')));
  };
  await more(256);
  t.equal(await web.metric(SHARED), 1);
  await more(1);
  await until(async () => (await web.metric(SHARED)) === 2);
  await more(100);
  t.equal(await web.metric('sidelock_link_streams'), 357);
  t.equal(await web.metric(HANDSHAKES), 2);
  for (const socket of sockets) socket.destroy();
});

t.test('every stream counts against the limit of connections, and so does what carries them', async (t) => {
  const authority = testAuthority();
  const app = { host: '127.0.0.1', port: await startApp(t, echo) };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target: app, allow: ['web'] },
    limits: { maxConnections: 3 },
  });
  const web = await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address: orders.mtls } });
  const [one, two] = [dial(web.local.port), dial(web.local.port)];
  await Promise.all([ask(one, 'x'), ask(two, 'x')]);
  const three = dial(web.local.port);
  three.write('x');
  t.match(await once(three, 'error'), [{ code: 'ECONNRESET' }]);
  t.equal(
    await orders.metric('sidelock_connections_refused_total{direction="inbound",listener="in",reason="limit"}'),
    1,
  );
  one.destroy();
  await until(() => orders.sidecar.connections().length === 1);
  t.equal(await ask(dial(web.local.port), 'free again'), 'free again');
  two.destroy();
});

t.test('a peer that breaks the protocol is cut with the reason in the log', async (t) => {
  const { orders, authority } = await startPair(t, echo);
  const { cert, key } = authority.issue('web');
  const socket = tlsConnect({ ...orders.mtls, cert, key, rejectUnauthorized: false, ALPNProtocols: ['sidelock/1'] });
  socket.on('error', () => {});
  socket.write(frame(9, 0, 1, 0));
  await once(socket.resume(), 'close');
  t.match(orders.events('link_broke'), [{ reason: 'bad_type', code: 'SL-LINK-001', direction: 'inbound' }]);
  t.equal(await orders.metric('sidelock_links_closed_total{direction="inbound",listener="in",reason="bad_type"}'), 1);
});

t.test(
  'a peer that vanishes: its callers hear of it at once, and the next one is served when it is back',
  async (t) => {
    const authority = testAuthority();
    const app = { host: '127.0.0.1', port: await startApp(t, echo) };
    const start = (test: Test, port: number) =>
      startNode(test, {
        service: 'orders',
        authority,
        inbound: { target: app, allow: ['web'], listen: { host: '127.0.0.1', port } },
      });
    const orders = await start(t, 0);
    const web = await startNode(t, {
      service: 'web',
      authority,
      outbound: { service: 'orders', address: orders.mtls },
    });
    const socket = dial(web.local.port);
    await ask(socket, 'x');
    const cut = once(socket, 'error');
    await orders.sidecar.shutdown();
    t.match(await cut, [{ code: 'ECONNRESET' }]);
    await start(t, orders.mtls.port);
    t.equal(await ask(dial(web.local.port), 'back'), 'back');
  },
);
