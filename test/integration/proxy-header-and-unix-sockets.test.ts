import { once } from 'node:events';
import { lstat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { encodeProxyHeader, parseProxyHeader } from '../../src/sidecar/proxy-header.ts';
import { shortDirectory, startProgram } from '../support/cli.ts';
import { testAuthority } from '../support/identity-files.ts';
import { echo, readAll, startApp, startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { freePort, startServer } from '../support/servers.ts';
import { until } from '../support/until.ts';

const gone = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

t.test(
  'unix sockets on either side: of the app that calls, between sidecars, and of the app that answers',
  async (t) => {
    const directory = shortDirectory(t);
    const [calls, between, app] = ['calls', 'between', 'app'].map((name) => join(directory, name));
    if (calls === undefined || between === undefined || app === undefined) throw new TypeError('three paths');
    const server = createServer({ allowHalfOpen: true }, echo).listen(app);
    t.teardown(() => server.close());
    // What a process that was killed leaves there.
    const killed = startProgram(process.execPath, [
      '-e',
      `require('net').createServer().listen('${calls}', () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    await killed.ended;
    t.equal((await lstat(calls)).isSocket(), true);

    const authority = testAuthority();
    const inbound = { listen: { path: between }, target: { path: app }, allow: ['web'] };
    const orders = await startNode(t, { service: 'orders', authority, inbound });
    const way = await startApp(t, (near) => {
      const far = connect(between).on('error', () => {});
      near.on('data', (bytes) => far.write(bytes)).once('close', () => far.destroy());
      far.on('data', (bytes) => near.write(bytes));
    });
    const outbound = {
      listen: { path: calls },
      socketMode: 0o660,
      service: 'orders',
      address: { host: '127.0.0.1', port: way },
    };
    const web = await startNode(t, { service: 'web', authority, outbound });
    t.match(web.events('listening'), [{ outbound: [{ address: `unix:${calls}` }] }]);
    t.equal((await lstat(calls)).mode & 0o777, 0o660);
    t.equal((await lstat(between)).mode & 0o777, 0o600, 'only this user unless told');
    const socket = connect(calls);
    socket.write('through');
    t.equal(String((await once(socket, 'data'))[0]), 'through');
    socket.destroy();

    await t.rejects(
      startNode(t, { service: 'web', authority, outbound }),
      { code: 'SL-NET-001' },
      'somebody answers there',
    );
    const file = join(directory, 'file');
    await writeFile(file, 'precious');
    await t.rejects(startNode(t, { service: 'web', authority, outbound: { ...outbound, listen: { path: file } } }), {
      code: 'SL-NET-002',
      why: /no socket/,
    });
    t.equal((await lstat(file)).isFile(), true, 'what is no socket stays');
    await Promise.all([web.sidecar.shutdown(), orders.sidecar.shutdown()]);
    await t.rejects(lstat(calls), { code: 'ENOENT' });
  },
);

for (const streams of [true, false]) {
  t.test(`the app gets a PROXY header with the caller's address and SPIFFE id; streams ${streams}`, async (t) => {
    const seen: Buffer[] = [];
    const port = await startApp(t, (socket) => {
      socket.write('220 ready');
      socket.on('data', (chunk: Buffer) => seen.push(chunk));
    });
    const authority = testAuthority();
    const target = { host: '127.0.0.1', port };
    const inbound = { target, allow: ['web'], sendProxyHeader: 'v2', mode: 'permissive' } as const;
    const orders = await startNode(t, { service: 'orders', authority, inbound, streams });
    const outbound = { service: 'orders', address: orders.mtls };
    const web = await startNode(t, { service: 'web', authority, outbound, streams });
    const bytes = () => Buffer.concat(seen);
    const socket = connect(web.local);
    t.equal(String((await once(socket, 'data'))[0]), '220 ready', 'the server speaks first');
    socket.write('hello');
    await until(() => bytes().includes('hello'));
    const [{ peer } = {}] = orders.sidecar.connections();
    const header = parseProxyHeader(bytes());
    t.match(header, { source: peer?.address });
    const length = typeof header === 'string' ? 0 : header.length;
    const id = Buffer.from('spiffe://ai-teddy.local/ns/default/sa/web');
    const name = Buffer.concat([Buffer.from([0x22, 0, id.length]), id]);
    t.ok(bytes().subarray(0, length).includes(name), 'PP2_SUBTYPE_SSL_CN is the SPIFFE id');
    t.equal(String(bytes().subarray(length)), 'hello', 'then what the caller sent, and nothing else');
    socket.destroy();

    seen.length = 0;
    const plain = connect(orders.mtls);
    plain.write('plain');
    await until(() => bytes().includes('plain'));
    const expected = encodeProxyHeader({
      source: `127.0.0.1:${plain.localPort}`,
      destination: `127.0.0.1:${orders.mtls.port}`,
    });
    t.same(bytes(), Buffer.concat([expected, Buffer.from('plain')]), 'a caller without TLS has an address alone');
    plain.destroy();
  });
}

/** haproxy with one proxy: what listens, and where it leads. */
async function startHaproxy(t: Test, lines: (port: number) => string): Promise<number | undefined> {
  const haproxy = requireProgram(t, 'haproxy');
  if (haproxy === undefined) return undefined;
  const port = await freePort();
  const file = join(shortDirectory(t), 'haproxy.cfg');
  const timeouts = ['connect', 'client', 'server'].map((what) => `  timeout ${what} 20s\n`).join('');
  await writeFile(file, `defaults\n${timeouts}\nlisten test\n${lines(port)}`);
  await startServer(t, haproxy, ['-db', '-f', file], port);
  return port;
}

t.test('haproxy behind a sidecar reads our header (accept-proxy)', async (t) => {
  const behind = await freePort();
  const port = await startHaproxy(
    t,
    (own) =>
      `  mode http\n  bind 127.0.0.1:${own}\n  bind 127.0.0.1:${behind} accept-proxy\n  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"\n`,
  );
  if (port === undefined) return;
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: behind };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, allow: ['web'], sendProxyHeader: 'v2' },
  });
  const web = await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address: orders.mtls } });
  const socket = connect(web.local);
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const [answer] = await once(socket, 'data');
  t.match(String(answer), orders.sidecar.connections()[0]?.peer?.address ?? 'none', 'it saw whom we met');
  socket.destroy();
});

t.test('haproxy before a sidecar says for whom it speaks (send-proxy-v2), and nobody else may', async (t) => {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const inbound = { target, allow: ['web'], acceptProxyHeader: ['127.0.0.0/8'] };
  const orders = await startNode(t, { service: 'orders', authority, inbound });
  const { cert, key } = authority.issue('web');
  const tls = (port: number) => tlsConnect({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
  const port = await startHaproxy(
    t,
    (own) => `  mode tcp\n  bind 127.0.0.1:${own}\n  server s 127.0.0.1:${orders.mtls.port} send-proxy-v2\n`,
  );
  if (port !== undefined) {
    const socket = tls(port);
    socket.write('through');
    t.equal(String((await once(socket, 'data'))[0]), 'through');
    t.match(orders.sidecar.connections(), [{ peer: { address: `127.0.0.1:${socket.localPort}`, id: /web$/ } }]);
    socket.destroy();
  }

  const bare = tls(orders.mtls.port).on('error', () => {});
  await gone(bare);
  const refused = 'sidelock_connections_refused_total{direction="inbound",listener="in",reason="proxy_header"}';
  // The one that looked whether haproxy is up was one too.
  await until(async () => (await orders.metric(refused)) >= 1);
  t.pass('a front that says nothing is refused');

  const elsewhere = { ...inbound, acceptProxyHeader: ['10.0.0.0/8'] };
  const strict = await startNode(t, { service: 'orders', authority, inbound: elsewhere });
  const claiming = connect(strict.mtls).on('error', () => {});
  claiming.write(encodeProxyHeader({ source: '10.9.9.9:1', destination: '10.0.0.1:2' }));
  await readAll(claiming).catch(() => {});
  await until(() => strict.events('handshake_failed').length > 0);
  t.match(strict.events('handshake_failed'), [{ reason: 'plaintext_other', peer: { address: /^127\.0\.0\.1:/ } }]);
  const usual = tls(strict.mtls.port);
  usual.write('usual');
  t.equal(String((await once(usual, 'data'))[0]), 'usual', 'who is no front needs no header');
  usual.destroy();
});
