import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { cli } from '../support/cli.ts';
import { startHttp } from '../support/http-rig.ts';
import { echo, startNode, startPair } from '../support/mesh.ts';

const request = (line: string) => `${line} HTTP/1.1\r\nHost: a\r\n\r\n`;

t.test('what was seen under audit, written as allow, lets in exactly that', async (t) => {
  const rig = await startHttp(t, { allow: ['billing'], policy: 'audit', admin: true });
  const lines = ['GET /orders/1', 'GET /orders/2?x', 'POST /orders/3', 'GET /healthz', 'GET /a/../b'];
  const client = await rig.inbound();
  for (const line of lines) {
    client.send(request(line));
    t.equal((await client.response())?.status, 200);
  }
  t.equal(await rig.orders.metric('sidelock_policy_audit{listener="in"}'), 1);
  t.match(rig.orders.lines, [{ event: 'policy_audit', level: 40, listener: 'in' }]);
  const { host, port } = rig.orders.sidecar.admin ?? { host: '', port: 0 };
  const admin = ['--admin', `${host}:${port}`];

  const { stdout, code } = await cli(['policy', 'suggest', ...admin]);
  t.equal(code, 0);
  t.match(stdout, /^# inbound in, policy audit since \d{4}-/);
  t.match(stdout, 'methods: [GET, POST], paths: ["/orders/*"]');
  t.match(stdout, 'methods: [GET], paths: ["/healthz"]');
  t.match(stdout, '1 more requests that no rule can name');

  const json = JSON.parse((await cli(['policy', 'suggest', ...admin, '-o', 'json'])).stdout);
  t.match(json, { listeners: [{ policy: 'audit', callers: [{ connections: 1, audited: 6, other: 1 }] }] });

  const text = `kind: Sidecar
identity: { source: files, directory: /x }
inbound:
  - listen: 1
    target: 2
    protocol: http
${stdout.replaceAll(/^/gm, '    ')}`;
  const { config } = loadConfig('Sidecar', { file: { name: 'c.yaml', text }, env: {} });
  const enforced = await startHttp(t, { allow: config.inbound[0]?.allow ?? [] });
  const again = await enforced.inbound();
  const statuses: Array<number | undefined> = [];
  for (const line of [...lines, 'DELETE /orders/1', 'GET /admin']) {
    again.send(request(line));
    statuses.push((await again.response())?.status);
  }
  t.strictSame(statuses, [200, 200, 200, 200, 403, 403, 403]);
});

t.test('a tcp listener has callers without requests; under enforce nothing is recorded', async (t) => {
  const { authority, orders } = await startPair(t, echo, { policy: 'audit', admin: true });
  const ops = await startNode(t, { service: 'ops', authority, outbound: { service: 'orders', address: orders.mtls } });
  const socket = connect(ops.local);
  socket.write('x');
  await once(socket, 'data');
  socket.destroy();
  const suggest = (port = 0) => cli(['policy', 'suggest', '--admin', `127.0.0.1:${port}`]);
  t.match((await suggest(orders.sidecar.admin?.port)).stdout, /^allow:\n {2}- ops\n$/m);

  const strict = await startPair(t, echo, { admin: true });
  t.match((await suggest(strict.orders.sidecar.admin?.port)).stdout, 'nothing is recorded: set policy: audit');

  const none = await suggest(1);
  t.equal(none.code, 3);
  t.match(none.stderr, 'SL-ADMIN-001');
});
