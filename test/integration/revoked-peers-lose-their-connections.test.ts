import { once } from 'node:events';
import { Agent, createServer, get } from 'node:http';
import { connect } from 'node:net';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { until } from '../support/identity-rig.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, readAll, startApp } from '../support/mesh.ts';
import { SWITCHED, UPGRADE } from '../support/web-socket.ts';

for (const [streams, workers] of [
  [true, 1],
  [false, 1],
  [false, 2],
] as const) {
  const what = `streams ${streams}, workers ${workers}`;
  t.test(`C71: open connections of a revoked peer are closed, others serve on; ${what}`, async (t) => {
    const rig = await startRig(t);
    const target = { host: '127.0.0.1', port: await startApp(t, echo) };
    const inbound = { name: 'in', listen: ANY, target, protocol: 'tcp', allow: 'any' } as const;
    const orders = await startEnrolled(t, rig, 'orders', { inbound: [inbound], streams, workers });
    const address = { host: '127.0.0.1', port: orders.sidecar.inbound[0]?.address.port ?? 0 };
    const caller = async (service: string) => {
      const out = { name: 'out', listen: ANY, service: 'orders', address, protocol: 'tcp', expect: [] } as const;
      const made = await startEnrolled(t, rig, service, { outbound: [out], streams });
      const port = made.sidecar.outbound[0]?.address.port ?? 0;
      const dialled = () => {
        const socket = connect(port, '127.0.0.1').on('error', () => {});
        t.teardown(() => socket.destroy());
        socket.write('ping');
        return socket;
      };
      return { ...made, dialled };
    };
    const [web, shop] = [await caller('web'), await caller('shop')];
    // So many that each worker has some.
    const open = Array.from({ length: workers === 1 ? 1 : 10 }, () => web.dialled());
    const other = shop.dialled();
    await Promise.all([...open, other].map((socket) => once(socket, 'data')));

    const closed = Promise.all(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    const began = performance.now();
    await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
    await closed;
    t.comment(`closed ${Math.round(performance.now() - began)} ms after the call`);
    // A line in each, whatever the number of its connections.
    await until(() => new Set(orders.events('peer_cut').map(({ worker }) => worker)).size === workers);
    for (const event of orders.events('peer_cut')) t.match(event, { reason: 'revoked', why: /keyCompromise/ });
    await until(() => web.events('refused_by_peer').length > 0);
    t.comment(`its own sidecar says why after ${Math.round(performance.now() - began)} ms`);
    t.match(web.events('refused_by_peer'), [{ msg: 'orders refused our certificate: it is revoked' }]);
    t.match(
      await orders.metrics.render(),
      new RegExp(`^sidelock_connections_closed_total.*"reauth"} ${open.length}$`, 'm'),
    );

    const again = web.dialled();
    await new Promise((resolve) => again.once('close', resolve));
    await until(() => orders.events('handshake_failed').length > 0);
    t.match(orders.events('handshake_failed').at(-1), { reason: 'client_revoked', code: 'SL-TLS-012' });

    const echoed = once(other, 'data', { signal: AbortSignal.timeout(10_000) });
    other.write('pong');
    t.equal(String((await echoed)[0]), 'pong', 'the other caller notices nothing');
  });
}

for (const streams of [true, false]) {
  t.test(`requests and WebSockets of a revoked peer end too; streams ${streams}`, async (t) => {
    const rig = await startRig(t);
    const app = createServer((_, response) => response.end('hello'));
    app.on('upgrade', (_, socket) => {
      socket.on('error', () => {});
      socket.write(SWITCHED);
    });
    const target = { host: '127.0.0.1', port: (await listen(app, ANY, 'the app')).port };
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    const inbound = { name: 'in', listen: ANY, target, protocol: 'http', allow: 'any' } as const;
    const orders = await startEnrolled(t, rig, 'orders', { inbound: [inbound], streams });
    const address = { host: '127.0.0.1', port: orders.sidecar.inbound[0]?.address.port ?? 0 };
    const out = { name: 'out', listen: ANY, service: 'orders', address, protocol: 'http', expect: [] } as const;
    const web = await startEnrolled(t, rig, 'web', { outbound: [out], streams });
    const port = web.sidecar.outbound[0]?.address.port ?? 0;

    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.teardown(() => agent.destroy());
    const ask = async () => {
      const [response] = await once(get({ port, host: '127.0.0.1', agent }), 'response');
      return `${response.statusCode} ${await readAll(response)}`;
    };
    t.equal(await ask(), '200 hello');
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write(UPGRADE);
    const [switched] = await once(socket, 'data');
    t.match(String(switched), /^HTTP\/1\.1 101 /);

    const closed = new Promise((resolve) => socket.once('close', resolve));
    await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
    await closed;
    t.match(await ask(), /^50[23] SL-/, 'the next request on the connection that was kept alive');
  });
}
