import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { HostPort } from '../../src/sidecar/options.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { until } from '../support/identity-rig.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';

const SHARED = 'sidelock_links{direction="outbound",listener="out",kind="shared"}';
const REFUSED = 'sidelock_upstream_errors_total{listener="out",reason="refused"}';

/** A way to `to` that can be shut for new connections alone, as a Service whose only endpoint is not ready. */
async function startGate(t: Test, to: HostPort) {
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to);
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.on('error', () => {}).on('data', (chunk) => into.write(chunk));
      from.on('close', () => into.destroy());
    }
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const port = await listen(0);
  const shut = () => server.close();
  t.teardown(() => {
    shut();
    for (const socket of open) socket.destroy();
  });
  return { address: { host: '127.0.0.1', port }, shut, reopen: () => listen(port) };
}

async function startMesh(t: Test) {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] } });
  const gate = await startGate(t, orders.mtls);
  const web = await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address: gate.address } });
  const call = async () => {
    const socket = connect(web.local);
    socket.write('x');
    const [answer] = await once(socket, 'data');
    socket.destroy();
    return String(answer);
  };
  await call();
  return { authority, orders, web, gate, call };
}

for (const changed of ['web', 'orders'] as const) {
  t.test(`${changed} has a new certificate while the peer is out of reach: calls go on over the old one`, async (t) => {
    const { authority, gate, call, ...nodes } = await startMesh(t);
    const { web, orders } = nodes;
    gate.shut();
    const next = authority.issue(changed);
    await swap(nodes[changed].directory, next);
    await until(async () => (await web.metric(REFUSED)) > 0);
    for (let i = 0; i < 50; i++) t.equal(await call(), 'x');
    t.match(web.events('upstream_down'), [{ reason: 'refused', code: 'SL-UP-001' }], 'the trouble is told');
    await gate.reopen();
    await until(async () => (await web.metric('sidelock_links_closed_total')) === 1);
    t.equal(await web.metric('sidelock_links_closed_total{direction="outbound",listener="out",reason="done"}'), 1);
    t.equal(await call(), 'x');
    t.equal(await web.metric(SHARED), 1);
    const kept = connect(web.local);
    kept.write('x');
    await once(kept, 'data');
    const seen = changed === 'web' ? orders : web;
    t.match(seen.sidecar.connections(), [{ peer: { serial: next.serial } }], 'on a connection with the new one');
    kept.destroy();
  });
}

t.test('a peer that leaves for good is not held: its callers hear of it at once', async (t) => {
  const { orders, gate, web } = await startMesh(t);
  gate.shut();
  await orders.sidecar.shutdown();
  const socket = connect(web.local);
  t.match(await once(socket.resume(), 'error'), [{ code: 'ECONNRESET' }]);
});
