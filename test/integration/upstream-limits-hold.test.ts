import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import type { UpstreamLimits } from '../../src/sidecar/options.ts';
import { startHttp } from '../support/http-rig.ts';
import { ask as askHttp2, startHttp2 } from '../support/http2-rig.ts';
import { testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const LIMITED = (limit: string) => `sidelock_upstream_limited_total{listener="out",limit="${limit}"}`;
const GET = 'GET / HTTP/1.1\r\nhost: orders\r\n\r\n';
const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

t.test('TCP beyond maxConnections is reset, with a reason, until one is closed', async (t) => {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] } });
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: orders.mtls, limits: { maxConnections: 2 } },
  });
  const open = async () => {
    const socket = connect(web.local);
    socket.write('x');
    await once(socket, 'data');
    return socket;
  };
  const first = await open();
  const second = await open();
  await t.rejects(open(), { code: 'ECONNRESET' });
  t.equal(await web.metric(LIMITED('maxConnections')), 1);
  t.match(web.events('upstream_limited'), [
    { code: 'SL-LIMIT-002', reason: 'maxConnections', limit: 2, listener: 'out', fix: String },
  ]);
  first.end();
  await until(() => web.sidecar.connections().length === 1);
  (await open()).destroy();
  second.destroy();
});

t.test('HTTP beyond maxRequests gets 503 at once, and the connection of the client goes on', async (t) => {
  const { rig, asked, answer } = await startHeld(t, { maxRequests: 1 });
  const [first, second] = [await rig.outbound(), await rig.outbound()];
  first.send(GET);
  await until(() => asked() === 1);
  second.send(GET);
  const refused = await second.response();
  t.equal(refused?.status, 503);
  t.match(refused?.head, /x-sidelock-reason: limit\r\nx-sidelock-code: SL-LIMIT-002\r\n/);
  answer();
  t.equal((await first.response())?.status, 200);
  second.send(GET);
  await until(() => asked() === 2);
  answer();
  t.equal((await second.response())?.status, 200);
  t.equal(await rig.web.metric(LIMITED('maxRequests')), 1);
});

t.test(
  'X26 HTTP beyond maxConnections waits, beyond maxPending gets 503, and a lost connection makes room',
  async (t) => {
    const { rig, asked, answer } = await startHeld(t, { maxConnections: 1, maxPending: 1 });
    const [first, second, third] = [await rig.outbound(), await rig.outbound(), await rig.outbound()];
    first.send(GET);
    await until(() => asked() === 1);
    second.send(GET);
    third.send(GET);
    const both = [second.response(), third.response()];
    const refused = await Promise.race(both);
    t.match(refused?.head, /x-sidelock-reason: busy\r\n/);
    t.equal(await rig.web.metric(LIMITED('maxPending')), 1);
    first.reset();
    await until(() => asked() === 2);
    answer();
    const statuses = (await Promise.all(both)).map((response) => response?.status);
    t.same(new Set(statuses), new Set([503, 200]));
  },
);

t.test('HTTP/2 beyond maxRequests gets 503, and the streams beside it go on', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const rig = await startHttp2(t, (stream) => void held.push(stream), { outbound: { limits: { maxRequests: 1 } } });
  const session = rig.local();
  for (const round of [1, 2]) {
    const first = askHttp2(session, {});
    await until(() => held.length === round);
    t.match(await askHttp2(session, {}), {
      status: 503,
      headers: { 'x-sidelock-reason': 'limit', 'x-sidelock-code': 'SL-LIMIT-002' },
    });
    held.at(-1)?.respond({ ':status': 200 }, { endStream: true });
    t.match(await first, { status: 200, ended: true });
  }
  t.equal(await rig.web.metric(LIMITED('maxRequests')), 2);
});

t.test('HTTP/2 beyond maxConnections waits for a stream, beyond maxPending gets 503', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const outbound = { limits: { maxConnections: 1, maxPending: 1 } };
  const app = (stream: ServerHttp2Stream) => void held.push(stream);
  // Two places for one connection: who would go to the other has that one too.
  const rig = await startHttp2(t, app, { outbound, http2: { maxStreams: 2 }, endpoints: 2 });
  const sessions = [rig.local(), rig.local()] as const;
  const first = [askHttp2(sessions[0], {})];
  await until(() => held.length === 1);
  first.push(askHttp2(sessions[0], {}));
  await until(() => held.length === 2);
  const rest = [askHttp2(sessions[1], {}), askHttp2(sessions[1], {})];
  t.match(await Promise.race(rest), {
    status: 503,
    headers: { 'x-sidelock-reason': 'busy' },
  });
  t.equal(await rig.web.metric(LIMITED('maxPending')), 1);
  t.equal(await rig.web.metric('sidelock_http_upstreams'), 1);
  held.shift()?.respond({ ':status': 200 }, { endStream: true });
  await until(() => held.length === 2);
  for (const stream of held) stream.respond({ ':status': 200 }, { endStream: true });
  t.match(await Promise.all(first), [{ status: 200 }, { status: 200 }]);
  t.same(new Set((await Promise.all(rest)).map(({ status }) => status)), new Set([503, 200]));
});

/** An app that answers when it is told to. */
async function startHeld(t: Test, limits: Partial<UpstreamLimits>) {
  const waiting: Array<() => void> = [];
  let asked = 0;
  const rig = await startHttp(t, {
    outbound: { limits },
    answer: (_request, { socket }) => {
      asked++;
      waiting.push(() => void socket.write(ANSWER));
      return undefined;
    },
  });
  const answer = () => {
    for (const one of waiting.splice(0)) one();
  };
  return { rig, asked: () => asked, answer };
}
