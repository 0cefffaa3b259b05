import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { HostPort } from '../../src/sidecar/options.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

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

/** An app, and a call of it by one more request or connection; both of the protocol. */
const PROTOCOLS = {
  async tcp(t: Test) {
    const port = await startApp(t, echo);
    const call = async (at: HostPort) => {
      const socket = connect(at);
      socket.write('x');
      const [answer] = await once(socket, 'data');
      socket.destroy();
      return String(answer);
    };
    return { port, call };
  },
  async http(t: Test) {
    const app = createHttpServer((_, response) => response.end('x')).listen(0, '127.0.0.1');
    t.teardown(() => app.close());
    await once(app, 'listening');
    const call = async (at: HostPort) => {
      const response = await fetch(`http://127.0.0.1:${at.port}/`);
      return `${response.status === 200 ? '' : response.status}${await response.text()}`;
    };
    return { port: (app.address() as AddressInfo).port, call };
  },
} as const;

async function startMesh(t: Test, protocol: keyof typeof PROTOCOLS = 'tcp') {
  const authority = testAuthority();
  const app = await PROTOCOLS[protocol](t);
  const inbound = { target: { host: '127.0.0.1', port: app.port }, allow: ['web'] };
  const orders = await startNode(t, { service: 'orders', authority, inbound, protocol });
  const gate = await startGate(t, orders.mtls);
  const outbound = { service: 'orders', address: gate.address };
  const web = await startNode(t, { service: 'web', authority, outbound, protocol });
  const call = () => app.call(web.local);
  await call();
  return { authority, orders, web, gate, call };
}

for (const protocol of ['tcp', 'http'] as const) {
  for (const changed of ['web', 'orders'] as const) {
    const title = `${protocol}: ${changed} has a new certificate while the peer is out of reach: calls go on over the old one`;
    t.test(title, async (t) => {
      const { authority, gate, call, ...nodes } = await startMesh(t, protocol);
      const { web } = nodes;
      gate.shut();
      const next = authority.issue(changed);
      await swap(nodes[changed].directory, next);
      await until(async () => (await web.metric(REFUSED)) > 0);
      for (let i = 0; i < 50; i++) t.equal(await call(), 'x');
      t.match(web.events('upstream_down'), [{ reason: 'refused', code: 'SL-UP-001' }], 'the trouble is told');
      await gate.reopen();
      await until(async () => {
        t.equal(await call(), 'x');
        return (await web.metric('sidelock_links_closed_total')) >= 1;
      });
      const done = 'sidelock_links_closed_total{direction="outbound",listener="out",reason="done"}';
      t.ok((await web.metric(done)) >= 1, 'once its successor stood');
      await until(async () => (await web.metric(SHARED)) === 1);
      t.equal(await call(), 'x');
    });
  }
}

t.test('a peer that stops is not held, and not dialled for nobody: its callers hear of it at once', async (t) => {
  const { orders, gate, web } = await startMesh(t);
  gate.shut();
  await orders.sidecar.shutdown();
  t.same(web.events('upstream_down'), []);
  const socket = connect(web.local);
  t.match(await once(socket.resume(), 'error'), [{ code: 'ECONNRESET' }]);
});
