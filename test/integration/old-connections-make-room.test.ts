import { once } from 'node:events';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { HOUR, MINUTE, SECOND, systemClock } from '../../src/base/clock.ts';
import { listen } from '../../src/base/listen.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { shiftedClock } from '../support/manager/rig.ts';
import { startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';
import { SWITCHED, UPGRADE } from '../support/web-socket.ts';

/** Callers' certificates have ten minutes: a connection of one makes room from eight on, and ends an hour after ten. */
const LEAF = 10 * MINUTE;
const ENDS = 'sidelock_connections_closed_total{direction="inbound",listener="in"';

const shortLeaf = () => ({ notAfter: systemClock.now() + LEAF });

for (const streams of [true, false]) {
  t.test(`F33, C89: TCP; a quiet connection is ended, a busy one has its grace; streams ${streams}`, async (t) => {
    const clock = shiftedClock();
    const authority = testAuthority();
    const asked: Socket[] = [];
    const app = (socket: Socket) => {
      socket.on('data', (bytes) => (String(bytes) === 'slow' ? asked.push(socket) : socket.write(bytes)));
      socket.once('end', () => socket.end());
    };
    const target = { host: '127.0.0.1', port: await startApp(t, app) };
    const limits = { drainMs: 200, idleTimeoutMs: 9 * HOUR };
    const more = { authority, streams, clock, limits } as const;
    const orders = await startNode(t, { ...more, service: 'orders', inbound: { target, allow: ['web'] } });
    const web = await startNode(t, { ...more, service: 'web', outbound: { service: 'orders', address: orders.mtls } });
    await swap(web.directory, authority.issue('web', shortLeaf()));
    await web.sidecar.renew();
    const dial = async () => {
      const socket = connect({ ...web.local, allowHalfOpen: true }).on('error', () => {});
      t.teardown(() => socket.destroy());
      await echoed(socket);
      return socket;
    };
    const [quiet, busy, waiting] = [await dial(), await dial(), await dial()];
    waiting.write('slow');
    const next = authority.issue('web');
    await swap(web.directory, next);
    await web.sidecar.renew();
    // With streams the old link serves on until its successor stands.
    await until(async () => {
      const socket = await dial();
      if (orders.sidecar.connections().some(({ peer }) => peer?.serial === next.serial)) return true;
      const over = once(socket, 'close');
      socket.end();
      await over;
      return false;
    });

    const talk = keepTalking(busy);
    clock.shift(9 * MINUTE + 30 * SECOND);
    const ended = once(quiet, 'end');
    // Only what a clock sees to be still is quiet.
    const passing = setInterval(() => clock.shift(SECOND), 50);
    t.teardown(() => clearInterval(passing));
    await ended;
    quiet.end();
    await until(async () => (await orders.metric(`${ENDS},reason="lifetime"}`)) === 1);
    clearInterval(passing);
    t.ok(talk.answers() > 0);
    const late = once(waiting, 'data');
    asked[0]?.write('late');
    t.equal(String((await late)[0]), 'late', 'who waits for an answer is not quiet');
    const broken = new Promise((resolve) => busy.once('close', resolve));
    clock.shift(HOUR + MINUTE);
    await broken;
    talk.stop();
    await until(async () => (await orders.metric(`${ENDS},reason="lifetime"}`)) === 3);
    t.equal(await orders.metric(`${ENDS},reason="error"}`), 0);
    t.equal(orders.sidecar.connections().length, 1, 'that of the new leaf stays');
  });
}

t.test(
  'F33: HTTP/1.1; the next answer says close, no request is lost, the next connection has the new leaf',
  async (t) => {
    const { clock, orders, authority } = await startHttp(t);
    const first = authority.issue('web', shortLeaf());
    let identity = first;
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    t.teardown(() => agent.destroy());
    const closes = new Set<string | undefined>();
    let lost = 0;
    const get = async (path = '/') => {
      const { cert, key } = identity;
      const { port } = orders.mtls;
      const sent = request({ port, host: '127.0.0.1', path, agent, cert, key, rejectUnauthorized: false });
      try {
        const [response] = await once(sent.end(), 'response');
        closes.add(response.headers.connection);
        response.resume();
        await once(response, 'end');
        if (response.statusCode !== 200) lost++;
      } catch {
        lost++;
      }
    };
    await Promise.all(Array.from({ length: 4 }, () => get()));
    const old = orders.sidecar.connections().map(({ id }) => id);
    t.equal(old.length, 4);
    const slow = get('/slow');
    clock.shift(9 * MINUTE);
    const left = () => orders.sidecar.connections().filter(({ id }) => old.includes(id)).length;
    while (left() > 0) await Promise.all([get(), get(), get()]);
    await slow;
    identity = authority.issue('web');
    await get();
    t.equal(lost, 0);
    t.ok(closes.has('close'));
    t.equal(await orders.metric(`${ENDS},reason="lifetime"}`), 4);
    t.equal(orders.sidecar.connections().at(-1)?.peer?.serial, identity.serial);
  },
);

t.test('F33: a WebSocket that is quiet ends, with both sides told in order', async (t) => {
  const { clock, orders, authority } = await startHttp(t);
  const { cert, key } = authority.issue('web', shortLeaf());
  const { host, port } = orders.mtls;
  const socket = tlsConnect({ host, port, cert, key, rejectUnauthorized: false }).on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write(UPGRADE);
  t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 101 /);
  await echoed(socket);
  clock.shift(9 * MINUTE);
  await echoed(socket);
  const passing = setInterval(() => clock.shift(SECOND), 50);
  t.teardown(() => clearInterval(passing));
  await once(socket, 'end');
  clearInterval(passing);
  await until(async () => (await orders.metric(`${ENDS},reason="lifetime"}`)) === 1);
});

async function startHttp(t: Test) {
  const clock = shiftedClock();
  const app = createServer((incoming, response) => {
    if (incoming.url === '/slow') void delay(2_500).then(() => response.end('late'));
    else response.end('ok');
  });
  app.on('upgrade', (_, socket) => {
    socket.on('error', () => {}).write(SWITCHED);
    socket.on('data', (chunk: Buffer) => socket.write(chunk)).once('end', () => socket.end());
  });
  const target = { host: '127.0.0.1', port: (await listen(app, { host: '127.0.0.1', port: 0 }, 'the app')).port };
  t.teardown(() => {
    app.close();
    app.closeAllConnections();
  });
  const authority = testAuthority();
  // Time flies in these tests, and nobody is late.
  const limits = { http: { requestTimeoutMs: HOUR, keepAliveMs: HOUR, bodyIdleMs: HOUR } };
  const orders = await startNode(t, {
    limits,
    service: 'orders',
    authority,
    clock,
    protocol: 'http',
    inbound: { target, allow: ['web'] },
  });
  return { clock, orders, authority };
}

async function echoed(socket: Socket): Promise<void> {
  const answer = once(socket, 'data');
  socket.write('ping');
  await answer;
}

function keepTalking(socket: Socket) {
  let answers = 0;
  socket.on('data', () => answers++);
  const timer = setInterval(() => socket.writable && socket.write('ping'), 20);
  return { answers: () => answers, stop: () => clearInterval(timer) };
}
