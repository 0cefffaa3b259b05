import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { echoTarget, startHttp } from '../support/http-rig.ts';
import { swap } from '../support/identity-files.ts';
import { inUse } from '../support/memory.ts';
import { startPair } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';
import { countBytes, echoMessages } from '../support/small-apps.ts';
import { until } from '../support/until.ts';

/** An ordinary Node server behind both sidecars; answers what it saw. */
async function startNodeApp(t: Test) {
  const app = createServer((request: IncomingMessage, response) => {
    countBytes(request, (bytes) => response.end(`${request.method} ${request.url} ${bytes} bytes`));
  });
  const { web, authority } = await startPair(t, (socket) => app.emit('connection', socket), { protocol: 'http' });
  return { app, web, authority, url: `http://127.0.0.1:${web.local.port}` };
}

t.test('curl: several requests on a connection, an upload, expect 100, HTTP/1.0', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const { url, web } = await startNodeApp(t);
  const ask = async (...args: string[]) => (await run(curl, ['-sS', ...args])).stdout;
  t.equal(await ask(`${url}/a`, `${url}/b`, '-w', ' %{num_connects}\n'), 'GET /a 0 bytes 1\nGET /b 0 bytes 0\n');
  const upload = ['-T', process.execPath, `${url}/up`];
  t.match(await ask(...upload), /^PUT \/up \d{8,} bytes$/);
  t.match(await ask('-H', 'Transfer-Encoding: chunked', ...upload), /^PUT \/up \d{8,} bytes$/);
  t.equal(await ask('-H', 'Expect: 100-continue', '-d', 'x=1', `${url}/e`), 'POST /e 3 bytes');
  t.equal(await ask('-0', `${url}/old`), 'GET /old 0 bytes');
  t.equal(await ask('-I', '-o', '/dev/null', '-w', '%{http_code}', `${url}/head`), '200');
  t.equal(await web.metric('sidelock_handshakes_total'), 1, 'one mTLS connection carried it all');
});

t.test('curl: 200 requests at once', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const { url } = await startNodeApp(t);
  const { stdout } = await run(curl, [
    '-sS',
    '--parallel',
    '--parallel-max',
    '32',
    '-w',
    '%{http_code}\n',
    '-o',
    '/dev/null',
    `${url}/[1-200]`,
  ]);
  t.strictSame([...new Set(stdout.trim().split('\n'))], ['200']);
});

t.test('WebSocket: messages both ways, large ones, and a close code', async (t) => {
  const { app, web } = await startNodeApp(t);
  const wss = echoMessages(app);
  t.teardown(() => wss.close());
  wss.on('connection', (socket, request) => {
    socket.send(`hello ${request.headers['x-forwarded-client-cert'] === undefined ? 'nobody' : 'caller'}`);
  });
  const socket = new WebSocket(`ws://127.0.0.1:${web.local.port}/ws`);
  const messages: Buffer[] = [];
  socket.on('message', (data: Buffer) => messages.push(data));
  await once(socket, 'open');
  const large = randomBytes(3 << 20);
  for (const data of ['one', large, 'two']) socket.send(data);
  while (messages.length < 4) await once(socket, 'message');
  t.equal(messages[0]?.toString(), 'hello caller');
  t.ok(messages[2]?.equals(large));
  t.equal(messages[3]?.toString(), 'two');
  socket.close(4001, 'done');
  const [code] = await once(socket, 'close');
  t.equal(code, 4001);
});

const upgrade = (more = '') =>
  `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n${more}`;
const agreed = (accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=') =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;

for (const direction of ['inbound', 'outbound'] as const) {
  t.test(`${direction}: a WebSocket is one only when both sides said so`, async (t) => {
    t.test('H18 bytes before the 101 wait for it; bytes behind it pass', async (t) => {
      const rig = await startHttp(t, { answer: () => `${agreed()}welcome` });
      const client = await rig[direction]();
      client.send(upgrade('\x81\x00early'));
      t.equal((await client.response())?.status, 101);
      while (!client.received().endsWith('welcome')) await once(client.socket, 'data');
      const [app] = rig.connections;
      await until(() => app?.received.endsWith('\x81\x00early') === true);
      client.send('\xff\x00raw');
      await until(() => app?.received.endsWith('\xff\x00raw') === true);
    });
    t.test('H16 refused by the app: still HTTP, and what came early is no request', async (t) => {
      const rig = await startHttp(t, {
        answer: (request) =>
          request.head.includes(' /ws ')
            ? 'HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n'
            : echoTarget(request),
      });
      const client = await rig[direction]();
      client.send(upgrade('GET /smug HTTP/1.1\r\nHost: a\r\n\r\n'));
      const response = await client.response();
      t.equal(response?.status, 426);
      t.match(response?.head, /^connection: close/im);
      await client.closed;
      t.notMatch(rig.received(), 'smug');
    });
    t.test('CVE-2024-23326 another status, or a wrong accept, opens nothing', async (t) => {
      for (const [answer, status] of [
        ['HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\ncontent-length: 0\r\n\r\n', 200],
        [agreed('AAAAAAAAAAAAAAAAAAAAAAAAAAA='), 502],
        [agreed().replace('Upgrade: websocket', 'Upgrade: h2c'), 502],
      ] as const) {
        const rig = await startHttp(t, { answer: () => answer });
        const client = await rig[direction]();
        client.send(upgrade('raw bytes'));
        t.equal((await client.response())?.status, status);
        await client.closed;
        t.notMatch(rig.received(), 'raw bytes');
      }
    });
  });
}

t.test('X28 a WebSocket whose app reads nothing holds its client back; one that is idle ends', async (t) => {
  const rig = await startHttp(t, {
    answer: (request) => (request.head.includes(' /ws ') ? agreed() : echoTarget(request)),
    idleMs: 2_000,
  });
  const client = await rig.inbound();
  client.send(upgrade());
  t.equal((await client.response())?.status, 101);
  const [app] = rig.connections;
  for (let i = 0; i < 10_000; i++) client.send('\x81');
  await until(() => (app?.received.match(/\x81/g)?.length ?? 0) >= 10_000);
  t.pass('frames of a byte are what they are: bytes');

  app?.socket.pause();
  const before = await inUse();
  const piece = Buffer.alloc(65_536, 1);
  let sent = 0;
  // What the systems' buffers take is no memory of ours; beyond it the client has to wait.
  for (let still = 0; still < 20 && sent < 256 << 20; ) {
    if (client.socket.writableLength === 0) {
      client.socket.write(piece);
      sent += piece.length;
      still = 0;
    } else still++;
    await new Promise((resolve) => setTimeout(resolve, still === 0 ? 0 : 10));
  }
  t.ok(client.socket.writableLength > 0, `it has to wait after ${sent >> 10} KiB`);
  const held = (await inUse()) - before;
  t.ok(held < 512 << 10, `${held >> 10} KiB more with client and sidecar in this process`);
  const other = await rig.inbound();
  other.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.equal((await other.response())?.status, 200, 'another caller has its answer');
  await client.closed;
  const idle = 'sidelock_connections_closed_total{direction="inbound",listener="in",reason="idle"}';
  await until(async () => (await rig.orders.metric(idle)) !== 0);
  t.pass('where nothing moves, it ends as idle');
});

t.test('a new identity: requests go over new connections, and none fails', async (t) => {
  const { url, web, authority } = await startNodeApp(t);
  const ask = async () => (await fetch(`${url}/`)).status;
  t.equal(await ask(), 200);
  for (let i = 0; i < 3; i++) {
    const before = web.sidecar.identity()?.generation;
    await swap(web.directory, authority.issue('web'));
    while (web.sidecar.identity()?.generation === before) t.equal(await ask(), 200);
    t.equal(await ask(), 200);
  }
  t.equal(await web.metric('sidelock_handshakes_total'), 4);
  t.equal(await web.metric('sidelock_http_upstreams'), 1, 'those of before are gone');
});
