import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { startFaultRig } from '../support/faults/rig.ts';

const BLOCK = ['--import', join(import.meta.dirname, '../support/faults/block-child.ts')];
const HANDSHAKES = 20;

for (const streams of [true, false]) {
  t.test(`F29 the loop stands still for 2 s: handshakes and requests survive, streams ${streams}`, async (t) => {
    const rig = await startFaultRig(t, { streams, orders: { node: BLOCK }, web: { node: BLOCK } });
    const { cert, key, ca } = rig.authority.issue('web');
    for (const blocked of [rig.orders, rig.web]) {
      await blocked.metric('nodejs_eventloop_lag_max_seconds ');
      // Half of them have begun by then, half come while nobody is there.
      const begin = async (socket: ReturnType<typeof connect>) => {
        t.teardown(() => socket.destroy());
        if (socket.connecting) await once(socket, 'connect');
        const tls = tlsConnect({ socket, cert, key, ca, checkServerIdentity: () => undefined });
        await once(tls, 'secureConnect');
        tls.write('x');
        await once(tls, 'data');
        tls.destroy();
      };
      const open = () => connect({ port: rig.ports.tcpIn, host: '127.0.0.1' });
      const early = Array.from({ length: HANDSHAKES / 2 }, open);
      await Promise.all(early.map((socket) => once(socket, 'connect')));
      const done = early.map(begin);
      blocked.child.kill('SIGUSR2');
      await delay(200);
      done.push(...Array.from({ length: HANDSHAKES / 2 }, () => begin(open())));
      const healthy = fetch(`${blocked.admin()}/healthz`);
      await Promise.all(done);
      t.equal((await healthy).status, 200, 'whoever asks whether it lives is told, as soon as it can');
      const lag = await blocked.metric('nodejs_eventloop_lag_max_seconds ');
      t.ok(lag > 1.5, `the metric shows ${lag.toFixed(2)} s`);
      t.equal(
        await rig.orders.metric('sidelock_handshakes_total{direction="inbound",listener="steady-tcp",result="failed"'),
        0,
      );
    }
    await rig.finish(t);
  });
}
