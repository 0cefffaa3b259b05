import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { listen } from '../../src/base/listen.ts';
import { shortDirectory } from '../support/cli.ts';
import { startSidecarProcess } from '../support/faults/process.ts';
import { testAuthority } from '../support/identity-files.ts';
import { freePort } from '../support/servers.ts';
import { echoMessages } from '../support/small-apps.ts';
import { until } from '../support/until.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const REQUESTS = 100;
const POLLS = 10;

/** The apps hold every answer back until the test lets go. */
async function startRig(t: Test, drain: string) {
  const held: ServerResponse[] = [];
  const app = createServer((_request, response) => void held.push(response));
  const sockets = echoMessages(app);
  const grpc = createHttp2Server();
  const streams = new Map<string, ServerHttp2Stream>();
  grpc.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200 });
    stream.write('first');
    streams.set(String(headers[':path']), stream);
  });
  t.teardown(() => {
    app.close();
    app.closeAllConnections();
    for (const socket of sockets.clients) socket.terminate();
    for (const stream of streams.values()) stream.session?.destroy();
    grpc.close();
  });
  const target = await listen(app, LOOPBACK, 'the app');
  const grpcTarget = await listen(grpc, LOOPBACK, 'the app');
  const at = (port: number) => `127.0.0.1:${port}`;
  const [httpIn, grpcIn, httpOut, grpcOut] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const common = { directory: shortDirectory(t), authority: testAuthority() };
  const orders = await startSidecarProcess(t, {
    ...common,
    service: 'orders',
    config: {
      limits: { drain },
      inbound: [
        { name: 'http', listen: at(httpIn), target: at(target.port), protocol: 'http', allow: ['web'] },
        { name: 'grpc', listen: at(grpcIn), target: at(grpcTarget.port), protocol: 'http2', allow: ['web'] },
      ],
    },
  });
  const web = await startSidecarProcess(t, {
    ...common,
    service: 'web',
    config: {
      outbound: [
        { name: 'http', listen: at(httpOut), service: 'orders', address: at(httpIn), protocol: 'http' },
        { name: 'grpc', listen: at(grpcOut), service: 'orders', address: at(grpcIn), protocol: 'http2' },
      ],
    },
  });
  return { orders, web, held, streams, httpIn, httpOut, grpcOut };
}

t.test('F15 SIGTERM under load: what can finish finishes, what cannot is cut at the deadline', async (t) => {
  const { orders, web, held, streams, httpIn, httpOut, grpcOut } = await startRig(t, '4s');
  const get = (path: string) => fetch(`http://127.0.0.1:${httpOut}/${path}`).then((response) => response.text());
  const requests = Array.from({ length: REQUESTS }, (_, i) => get(`short/${i}`));
  const polls = Array.from({ length: POLLS }, (_, i) => get(`poll/${i}`));
  for (const poll of polls) poll.catch(() => {});
  const sockets = Array.from({ length: 5 }, () => new WebSocket(`ws://127.0.0.1:${httpOut}/`));
  await Promise.all(sockets.map((socket) => once(socket, 'open')));
  const cut = sockets.map((socket) =>
    once(
      socket.on('error', () => {}),
      'close',
    ),
  );
  const session = connectHttp2(`http://127.0.0.1:${grpcOut}`);
  session.on('error', () => {});
  const [finishing, endless] = [session.request({ ':path': '/finishing' }), session.request({ ':path': '/endless' })];
  for (const stream of [finishing, endless]) stream.on('error', () => {});
  await Promise.all([once(finishing, 'data'), once(endless, 'data')]);
  await until(() => held.length === REQUESTS + POLLS);

  orders.child.kill('SIGTERM');
  await until(() => orders.events('stopping').length > 0);
  const isOpen = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ port: httpIn, host: '127.0.0.1' });
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  await until(async () => !(await isOpen()));
  t.pass('nobody is accepted any more');
  t.equal((await fetch(`${orders.admin()}/readyz`)).status, 503, 'and it says so');
  t.equal((await fetch(`${orders.admin()}/healthz`)).status, 200);

  await delay(300);
  for (const response of held) if (response.req.url?.startsWith('/short/')) response.end(response.req.url);
  t.same(new Set(await Promise.all(requests)), new Set(Array.from({ length: REQUESTS }, (_, i) => `/short/${i}`)));
  let rest = '';
  finishing.setEncoding('utf8').on('data', (text: string) => {
    rest += text;
  });
  streams.get('/finishing')?.end('last');
  await once(finishing, 'end');
  t.equal(rest, 'last', 'a stream that ends in time ends well');

  const answers = await Promise.allSettled(polls);
  t.ok(
    answers.every((one) => one.status === 'rejected' || /^SL-HTTP-002/.test(one.value)),
    'long polls end with an error at the deadline, never with an empty answer',
  );
  await Promise.all(cut);
  const { code, signal } = await orders.ended;
  t.same({ code, signal }, { code: 0, signal: null }, 'SIGKILL was not needed');
  session.destroy();
  await web.endsWell(t);
});

t.test('F15 a second SIGTERM ends it at once', async (t) => {
  const { orders, web, held, httpOut } = await startRig(t, '10m');
  const poll = fetch(`http://127.0.0.1:${httpOut}/poll`).then((response) => response.status);
  await until(() => held.length === 1);
  orders.child.kill('SIGTERM');
  await until(() => orders.events('stopping').length > 0);
  orders.child.kill('SIGTERM');
  t.match(await orders.ended, { code: 128 + 15 });
  t.equal(await poll, 502);
  await web.endsWell(t);
});
