import { connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { startFaultRig } from '../support/faults/rig.ts';
import { readAll } from '../support/mesh.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

/** A limit below the delay of the app, in place of 60 s and an answer after 70 s. */
const REQUEST_TIMEOUT = '5s';

t.test('F12, F13 beside an app that fails in every way the others lose nothing', async (t) => {
  const app = await freePort();
  const [httpIn, tcpIn, httpOut, tcpOut] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const at = (port: number) => `127.0.0.1:${port}`;
  const rig = await startFaultRig(t, {
    orders: {
      config: { limits: { requestTimeout: REQUEST_TIMEOUT } },
      listeners: [
        { name: 'bad-http', listen: at(httpIn), target: at(app), protocol: 'http', allow: ['web'] },
        { name: 'bad-tcp', listen: at(tcpIn), target: at(app), allow: ['web'] },
      ],
    },
    web: {
      listeners: [
        { name: 'bad-http', listen: at(httpOut), service: 'orders', address: at(httpIn), protocol: 'http' },
        { name: 'bad-tcp', listen: at(tcpOut), service: 'orders', address: at(tcpIn) },
      ],
    },
  });
  const ask = (options: RequestInit = {}) => fetch(`http://127.0.0.1:${httpOut}/`, options);
  const tcp = () => {
    const socket = connect({ port: tcpOut, host: '127.0.0.1' });
    socket.write('x');
    return socket;
  };
  const targetErrors = () => rig.orders.metric('sidelock_target_errors_total{listener="bad-http",reason="refused"}');

  await t.test('F12 nobody listens: 503 with a reason, TCP reset, both counted and told', async (t) => {
    for (let i = 0; i < 20; i++) {
      const response = await ask();
      t.equal(response.status, 503);
      t.equal(response.headers.get('x-sidelock-reason'), 'unreachable');
      t.equal(response.headers.get('x-sidelock-code'), 'SL-APP-001');
      await t.rejects(readAll(tcp()), { code: 'ECONNRESET' });
    }
    t.equal(await targetErrors(), 20);
    t.match(await rig.orders.sawEvent('target_down'), { code: 'SL-APP-001', reason: 'refused', target: at(app) });
    t.ok(rig.orders.events('target_down').length <= 4, 'not a line each');
    t.equal((await fetch(`${rig.orders.admin()}/readyz`)).status, 200, 'the sidecar is ready all the same');
  });

  const sockets: Socket[] = [];
  let answer: (socket: Socket, request: string) => void = () => {};
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    let request = '';
    socket.on('data', (chunk) => {
      request += chunk;
      answer(socket, request);
    });
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  await t.test('F12 as soon as it listens it is served', async (t) => {
    await listen(server, { host: '127.0.0.1', port: app }, 'the app');
    answer = (socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    t.equal(await (await ask()).text(), 'ok');
  });

  await t.test('F13 it accepts and never answers: 504 in time, asked once, and its connection is closed', async (t) => {
    for (const method of ['GET', 'POST']) {
      let asked = 0;
      answer = () => void asked++;
      const response = await ask({ method });
      t.equal(response.status, 504);
      t.equal(response.headers.get('x-sidelock-reason'), 'timeout');
      t.equal(asked, 1, `${method} was not repeated`);
      await until(() => sockets.at(-1)?.destroyed === true || sockets.at(-1)?.readableEnded === true);
    }
  });

  await t.test('F13 a caller that leaves is a caller that left for the app too', async () => {
    for (const way of ['http', 'tcp']) {
      const waiting = Promise.withResolvers<Socket>();
      answer = (socket) => waiting.resolve(socket);
      const leave = new AbortController();
      const socket = way === 'tcp' ? tcp() : undefined;
      const asked = socket === undefined ? ask({ signal: leave.signal }).catch(() => {}) : undefined;
      const atApp = await waiting.promise;
      leave.abort();
      socket?.resetAndDestroy();
      await asked;
      await until(() => atApp.destroyed);
    }
  });

  await t.test('F13 a body that breaks off is an error for the caller, never an end', async (t) => {
    const head = 'HTTP/1.1 200 OK\r\n';
    for (const [how, start, end] of [
      ['RST mid-body', `${head}content-length: 100\r\n\r\nhalf`, (socket: Socket) => void socket.resetAndDestroy()],
      ['FIN mid-body', `${head}content-length: 100\r\n\r\nhalf`, (socket: Socket) => void socket.end()],
      ['FIN mid-chunk', `${head}transfer-encoding: chunked\r\n\r\n64\r\nhalf`, (socket: Socket) => void socket.end()],
      [
        'RST between chunks',
        `${head}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n`,
        (socket: Socket) => void socket.resetAndDestroy(),
      ],
    ] as const) {
      const begun = Promise.withResolvers<Socket>();
      answer = (socket) => {
        socket.write(start);
        begun.resolve(socket);
      };
      const response = await ask();
      const reader = response.body?.getReader();
      t.equal(String(Buffer.from((await reader?.read())?.value ?? [])), 'half', how);
      end(await begun.promise);
      await t.rejects(Promise.resolve(reader?.read()), how);
    }
    answer = (socket) => void socket.resetAndDestroy();
    await t.rejects(readAll(tcp()), { code: 'ECONNRESET' }, 'TCP');
  });

  await rig.finish(t);
});

t.test('the steady client sees what is lost', async (t) => {
  const { orders, steady } = await startFaultRig(t);
  orders.child.kill('SIGKILL');
  const kinds = ['kept connection', 'new connection', 'WebSocket', 'TCP'];
  await until(() => kinds.every((kind) => steady.lost.some((one) => one.startsWith(kind))));
  await steady.stop();
});
