import t from 'tap';
import { startHttp } from '../support/http-rig.ts';

const request = (line: string, more = '') => `${line} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const allow = [{ service: 'web', methods: ['GET', 'POST'], paths: ['/orders/*'] }];
const series = (result: string, reason: string) =>
  `sidelock_authz_total{listener="in",result="${result}",reason="${reason}"}`;

t.test('a denied request gets 403 with its reason, and the connection goes on', async (t) => {
  const rig = await startHttp(t, { allow });
  const client = await rig.inbound();
  const steps: ReadonlyArray<readonly [line: string, status: number, reason?: string]> = [
    ['GET /orders/1', 200],
    ['GET /admin', 403, 'method_or_path'],
    ['DELETE /orders/1', 403, 'method_or_path'],
    ['GET /orders/..%2fadmin', 403, 'ambiguous_path'],
    ['GET /orders/%2e%2e/admin', 403, 'ambiguous_path'],
    ['GET /orders/..;/admin', 403, 'ambiguous_path'],
    ['GET /orders//x', 403, 'ambiguous_path'],
    ['GET http://a/admin', 403, 'method_or_path'],
    ['GET /orders/2', 200],
  ];
  for (const [line, status, reason] of steps) {
    client.send(request(line));
    const response = await client.response();
    t.equal(response?.status, status, line);
    if (reason !== undefined) {
      t.match(response?.head, `x-sidelock-reason: ${reason}`);
      t.match(response?.body, /^SL-AUTHZ-002: /);
      t.notMatch(response?.head, /^connection: close/im);
    }
  }
  t.equal(rig.connections.length, 1);
  t.strictSame(rig.received().match(/^[A-Z]+ \S+/gm), ['GET /orders/1', 'GET /orders/2'], 'the app saw no other');
  t.equal(await rig.orders.metric(series('denied', 'method_or_path')), 3);
  t.equal(await rig.orders.metric(series('denied', 'ambiguous_path')), 4);
  t.equal(await rig.orders.metric(series('allowed', '')), 3, 'one connection and two requests');
  const line = rig.orders.lines.find(({ event }) => event === 'denied');
  t.match(line, { code: 'SL-AUTHZ-002', reason: 'method_or_path', method: 'GET', path: '/admin', why: /orders\/\*/ });
});

t.test('bodies of denied requests are not read as requests', async (t) => {
  const rig = await startHttp(t, { allow });
  const client = await rig.inbound();
  const hidden = request('GET /orders/hidden');
  client.send(`${request('POST /x', `Content-Length: ${hidden.length}\r\n`)}${hidden}${request('GET /orders/1')}`);
  t.equal((await client.response())?.status, 403);
  t.equal((await client.response())?.body, '/orders/1', 'the body was here, so the connection goes on');
  client.send(
    `${request('POST /x', 'Transfer-Encoding: chunked\r\n')}3\r\nabc\r\n0\r\n\r\n${request('GET /orders/2')}`,
  );
  t.equal((await client.response())?.status, 403);
  t.equal((await client.response())?.body, '/orders/2');
  client.send(request('POST /x', 'Content-Length: 100\r\n'));
  const response = await client.response();
  t.equal(response?.status, 403);
  t.match(response?.head, /^connection: close/im, 'a body that is still to come ends the connection');
  await client.closed;
  t.notMatch(rig.received(), 'hidden');
});

t.test('through both sidecars, and pipelined', async (t) => {
  const rig = await startHttp(t, { allow });
  const client = await rig.outbound();
  client.send(request('GET /orders/1') + request('GET /admin') + request('GET /orders/2'));
  t.equal((await client.response())?.body, '/orders/1');
  t.equal((await client.response())?.status, 403);
  t.equal((await client.response())?.body, '/orders/2');
});

t.test('audit lets connections and requests through, and tells what enforce would have refused', async (t) => {
  const rig = await startHttp(t, { allow: [{ service: 'web', paths: ['/orders/*'] }], policy: 'audit' });
  const client = await rig.inbound();
  for (const path of ['/orders/1', '/admin', '/orders/../x']) {
    client.send(request(`GET ${path}`));
    t.equal((await client.response())?.body, path);
  }
  t.equal(await rig.orders.metric(series('audited', 'method_or_path')), 1);
  t.equal(await rig.orders.metric(series('audited', 'ambiguous_path')), 1);
  t.equal(await rig.orders.metric(`sidelock_authz_total{listener="in",result="denied"`), 0);
  t.match(
    rig.orders.lines.filter(({ event }) => event === 'audited'),
    [{ path: '/admin' }, { path: '/orders/../x' }],
  );

  const other = await startHttp(t, { allow: ['billing'], policy: 'audit' });
  const stranger = await other.inbound();
  stranger.send(request('GET /x'));
  t.equal((await stranger.response())?.body, '/x');
  t.equal(await other.orders.metric(series('audited', 'caller_not_listed')), 2, 'the connection and its request');
});
