import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp } from '../support/mesh.ts';
import { LISTENERS, type Opened, openAll } from '../support/open-all.ts';
import { until } from '../support/until.ts';

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
    // So many that each worker has some, as a rule.
    const open = Array.from({ length: workers === 1 ? 1 : 10 }, () => web.dialled());
    const other = shop.dialled();
    await Promise.all([...open, other].map((socket) => once(socket, 'data')));

    const closed = Promise.all(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    const began = performance.now();
    await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
    await closed;
    t.comment(`closed ${Math.round(performance.now() - began)} ms after the call`);
    // A line in each worker that had some; how many had is the kernel's business.
    await until(() => orders.events('peer_cut').length > 0);
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

/** Ways in which orders stops taking web, and what web's own sidecar then says. */
const ENDS = [
  {
    what: 'revoked',
    by: 'peer_cut',
    why: 'orders refused our certificate: it is revoked',
    notice: 'revoked',
    end: ({ rig }: Opened) => rig.admin.revoke({ service: 'web', reason: 'keyCompromise' }),
  },
  {
    what: 'denied',
    by: 'connection_closed',
    why: 'orders refused our certificate: its allow list does not name us',
    notice: 'not_allowed',
    end: ({ orders }: Opened) => orders.sidecar.setRules(LISTENERS.map((name) => ({ name, allow: ['shop'] }))),
  },
] as const;

for (const [streams, workers] of [
  [true, 1],
  [false, 1],
  [true, 2],
] as const) {
  for (const { what, by, why, notice, end } of workers === 1 ? ENDS : ENDS.slice(1)) {
    const how = `streams ${streams}, workers ${workers}`;
    t.test(`a ${what} peer loses what is open in every protocol, and hears why; ${how}`, async (t) => {
      const opened = await openAll(t, { streams, workers });
      const { orders, web, ends, ask } = opened;
      const began = performance.now();
      const took = () => `${Math.round(performance.now() - began)} ms`;
      const closed = Object.entries(ends).map(([name, over]) => over.then(() => `${name} ${took()}`));
      await end(opened);
      t.comment(`${how}, ${what}, closed after: ${(await Promise.all(closed)).join(', ')}`);
      await until(() => LISTENERS.every((name) => orders.events(by).some(({ listener }) => listener === name)));
      for (const event of orders.events(by)) t.match(event, { reason: what, peer: { id: /sa\/web$/ } });

      await until(() => web.events('refused_by_peer').length > 0);
      t.comment(`its own sidecar says why after ${took()}`);
      t.match(web.events('refused_by_peer'), [{ msg: why, reason: notice, direction: 'outbound' }]);
      const { host, port } = web.sidecar.admin ?? ANY;
      const shown = (await (await fetch(`http://${host}:${port}/connections`)).json()) as Array<{ refused?: unknown }>;
      t.match(
        shown.filter(({ refused }) => refused !== undefined),
        [{ peer: { id: /sa\/orders$/ }, self: { id: /sa\/web$/ }, refused: { reason: notice } }],
      );
      t.match(
        await web.metrics.render(),
        new RegExp(`sidelock_refused_by_peer_total\\{direction="outbound",reason="${notice}"\\} [1-9]`),
      );
      t.match(await ask(), /^50[23] SL-/, 'the next request on the connection that was kept alive');
    });
  }
}
