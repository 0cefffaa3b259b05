import { connect, type Socket } from 'node:net';
import t from 'tap';
import { startFaultRig } from '../support/faults/rig.ts';
import { swap } from '../support/identity-files.ts';
import { servedSerial } from '../support/load.ts';
import { until } from '../support/until.ts';

/** 64 descriptors, as in the reference, are what a sidecar with its steady client has open before the test begins. */
const LIMIT = 256;
const CONNECTS = 400;

for (const streams of [true, false]) {
  t.test(`F16 ulimit -n ${LIMIT} and ${CONNECTS} connects, ${streams ? 'in streams' : 'without'}`, async (t) => {
    const rig = await startFaultRig(t, { streams, orders: { before: `ulimit -n ${LIMIT}` } });
    const { orders, ports, authority } = rig;
    const inUse = () => orders.metric('process_open_fds ');
    const refused = () =>
      orders.metric(
        'sidelock_connections_refused_total{direction="inbound",listener="steady-tcp",reason="descriptors"}',
      );
    t.equal(await orders.metric('process_max_fds '), LIMIT);
    t.comment(`${await inUse()} descriptors in use under the steady client`);

    const sockets = Array.from({ length: CONNECTS }, () => {
      const socket = connect({ port: ports.tcpOut, host: '127.0.0.1' });
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      socket.write('x');
      return socket;
    });
    const settled = await Promise.all(sockets.map(answers));
    const served = settled.filter((one) => one).length;
    t.comment(`${served} of ${CONNECTS} served, ${await refused()} refused, ${await inUse()} descriptors in use`);
    t.ok(served > 0);
    t.ok((await refused()) >= CONNECTS - served, 'none is closed without being counted');
    t.ok((await inUse()) <= LIMIT - 32, 'some are left');
    t.match(await orders.sawEvent('no_room'), { code: 'SL-LIMIT-005', reason: 'descriptors', fix: /ulimit -n/ });
    t.ok(orders.events('no_room').length < 6, 'not a line each');

    const next = authority.issue('orders');
    await swap(orders.identity, next);
    await until(async () => (await (await fetch(`${orders.admin()}/identity`)).text()).includes(next.serial));
    t.pass('certificates are read, and the admin endpoints answer, all the same');

    for (const socket of sockets) socket.destroy();
    const serial = () => servedSerial(ports.tcpIn, authority.issue('web')).catch(() => undefined);
    await until(async () => (await serial()) === next.serial);
    t.pass('then there is room again');
    await rig.finish(t, { refused: /^(?:kept|new) connection: / });
  });
}

/** Whether something comes back on it before it is closed. */
function answers(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    socket.once('data', () => resolve(true));
    socket.once('close', () => resolve(false));
  });
}
