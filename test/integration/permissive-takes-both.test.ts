import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { createPlaintextCallers } from '../../src/sidecar/plaintext-callers.ts';
import { cli } from '../support/cli.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { startHttp } from '../support/http-rig.ts';
import { echo, startPair } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const gone = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

for (const userBuffers of [true, false]) {
  t.test(`with TLS and without, on one port: ${userBuffers ? 'user buffers' : 'data events'}`, async (t) => {
    const { orders, web } = await startPair(t, echo, { mode: 'permissive', userBuffers });
    t.match(orders.lines, [{ event: 'permissive', level: 40, listener: 'in' }]);
    for (const [port, text] of [
      [web.local.port, 'through TLS'],
      [orders.mtls.port, 'plain text'],
      [orders.mtls.port, 'x'],
    ] as const) {
      const socket = connect(port, '127.0.0.1');
      socket.write(text);
      t.equal(String((await once(socket, 'data'))[0]), text);
      socket.write('more');
      t.equal(String((await once(socket, 'data'))[0]), 'more');
      socket.end();
      await gone(socket);
    }
    const opened = (tls: string) =>
      orders.metric(`sidelock_connections_total{direction="inbound",listener="in",tls="${tls}"}`);
    t.equal(await opened('plaintext'), 2);
    t.equal(await opened('mtls'), 1);

    const silent = connect(orders.mtls.port, '127.0.0.1');
    await once(silent, 'connect');
    silent.end();
    silent.resume();
    await gone(silent);
    t.equal(await opened('plaintext'), 2, 'who leaves without a byte is no caller');
  });
}

t.test('an app that speaks first is heard by a caller without TLS', async (t) => {
  const { orders, web } = await startPair(t, (socket) => void socket.write('220 ready'), { mode: 'permissive' });
  for (const port of [orders.mtls.port, web.local.port]) {
    const socket = connect(port, '127.0.0.1');
    t.equal(String((await once(socket, 'data'))[0]), '220 ready');
    socket.destroy();
  }
});

t.test('requests in plaintext reach the app without any identity, whatever they claim', async (t) => {
  const rig = await startHttp(t, { mode: 'permissive', allow: [{ service: 'web', paths: ['/a'] }] });
  const response = await fetch(`http://127.0.0.1:${rig.orders.mtls.port}/x`, {
    headers: { 'x-forwarded-client-cert': 'URI=spiffe://evil', 'x-forwarded-proto': 'https' },
  });
  t.equal(response.status, 200);
  t.equal(await response.text(), '/x');
  t.notMatch(rig.received(), 'evil');
  t.match(rig.received(), /^x-forwarded-proto: http\r$/m);
  t.match(rig.received(), /^x-forwarded-for: 127.0.0.1\r$/m);
  const client = await rig.inbound();
  client.send('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
  t.equal((await client.response())?.status, 403, 'callers with an identity are judged');
});

t.test('strict refuses plaintext', async (t) => {
  const { orders } = await startPair(t, echo);
  const socket = connect(orders.mtls.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\n\r\n');
  socket.resume();
  await gone(socket);
  t.equal(await orders.metric('sidelock_connections_total'), 0);
});

t.test('migrate names who still calls in plaintext, and says when strict is safe', async (t) => {
  const { orders } = await startPair(t, echo, { mode: 'permissive', admin: true });
  const migrate = (window: string, ...more: string[]) =>
    cli(['migrate', '--admin', `127.0.0.1:${orders.sidecar.admin?.port}`, '--window', window, ...more]);
  const socket = connect(orders.mtls.port, '127.0.0.1');
  socket.write('x');
  await once(socket, 'data');
  t.match(orders.sidecar.connections(), [{ plaintext: true, peer: { address: /^127.0.0.1:/, id: '' } }]);
  const while_ = await migrate('1ms');
  t.equal(while_.code, 1, 'open connections count, however long they are quiet');
  t.match(while_.stdout, /in: permissive, watched for(?:.|\n)*1 connections in plaintext are open(?:.|\n)*not yet/);
  socket.destroy();
  await until(() => orders.sidecar.connections().length === 0);

  const after = await migrate('7d');
  t.equal(after.code, 1);
  t.match(after.stdout, /127.0.0.1\)? called in plaintext: 1 connections(?:.|\n)*watched for .* of 7 d/);
  const safe = await migrate('1ms');
  t.equal(safe.code, 0);
  t.match(safe.stdout, 'strict is safe');
  t.match(JSON.parse((await migrate('1ms', '-o', 'json')).stdout), {
    permissive: [{ listener: 'in', safe: true, callers: [{ address: '127.0.0.1', connections: 1 }] }],
  });

  const strict = await startPair(t, echo, { admin: true });
  const ended = await cli(['migrate', '--admin', `127.0.0.1:${strict.orders.sidecar.admin?.port}`]);
  t.match(ended, { code: 0, stdout: /in: strict already/ });
  t.match(await migrate('week'), { code: 2, stderr: /SL-USAGE-001/ });
});

t.test('plaintext callers are kept within bounds', async (t) => {
  const callers = createPlaintextCallers(fakeClock(0));
  for (let i = 0; i < 10_000; i++) callers.note(`10.0.${i >> 8}.${i & 255}:${i}`);
  t.equal(callers.list().length, 256);
  t.equal(callers.other.connections, 10_000 - 256);
  callers.note('10.0.0.0:1');
  t.match(callers.list()[0], { address: '10.0.0.0', connections: 2 });
});
