import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { SIDECAR } from '../../bench/bundle.ts';
import { listen } from '../../src/base/listen.ts';
import { bundleForFaults } from '../support/faults/bundle.ts';
import { memoryGroup } from '../support/faults/memory-cgroup.ts';
import { startFaultRig } from '../support/faults/rig.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

const LIMIT = 128 << 20;
const READERS = 2_000;
const BODY = 10 << 20;

for (const [streams, protocol] of [
  [true, 'http'],
  [true, 'tcp'],
  [false, 'tcp'],
] as const) {
  t.test(
    `F17 ${READERS} slow readers of 10 MiB bodies in ${LIMIT >> 20} MiB, ${protocol}, streams ${streams}`,
    async (t) => {
      await bundleForFaults();
      const piece = Buffer.alloc(1 << 16);
      const app = createServer((_request, response) => {
        response.setHeader('content-length', BODY);
        let left = BODY;
        const more = () => {
          while (left > 0 && !response.destroyed) {
            left -= piece.length;
            if (!response.write(piece)) {
              response.once('drain', more);
              return;
            }
          }
          response.end();
        };
        more();
      });
      t.teardown(() => {
        app.close();
        app.closeAllConnections();
      });
      const target = await listen(app, { host: '127.0.0.1', port: 0 }, 'the app');
      const group = await memoryGroup(t, LIMIT);
      if (group === undefined) t.comment('this user may make no cgroup: only limits.maxMemory is at work');
      const [inbound, outbound] = [await freePort(), await freePort()];
      const rig = await startFaultRig(t, {
        streams,
        program: SIDECAR,
        orders: {
          ...(group === undefined ? { config: { limits: { maxMemory: '90MiB' } } } : { before: group.enter }),
          listeners: [
            {
              name: 'bodies',
              listen: `127.0.0.1:${inbound}`,
              target: `127.0.0.1:${target.port}`,
              protocol,
              allow: ['web'],
            },
          ],
        },
        web: {
          listeners: [
            {
              name: 'bodies',
              listen: `127.0.0.1:${outbound}`,
              service: 'orders',
              address: `127.0.0.1:${inbound}`,
              protocol,
            },
          ],
        },
      });
      const refused = () =>
        rig.orders.metric('sidelock_connections_refused_total{direction="inbound",listener="bodies",reason="memory"}');
      const relieved = () =>
        rig.orders.metric('sidelock_connections_closed_total{direction="inbound",listener="bodies",reason="memory"}');
      const before = rig.orders.anonymous();
      let top = before;
      const sockets = new Set<Socket>();
      t.teardown(() => {
        for (const socket of sockets) socket.destroy();
      });
      for (let i = 0; i < READERS; i++) {
        const socket = connect({ port: outbound, host: '127.0.0.1' });
        sockets.add(socket);
        socket.on('error', () => {});
        socket.once('close', () => sockets.delete(socket));
        socket.write('GET / HTTP/1.1\r\nhost: orders\r\n\r\n');
        // Slow: a piece now and then.
        socket.once('readable', () => socket.read(1_000));
        if (i % 50 === 49) {
          await once(socket, 'connect').catch(() => {});
          await delay(20);
          top = Math.max(top, rig.orders.anonymous());
        }
      }
      await delay(2_000);
      top = Math.max(top, rig.orders.anonymous());
      const open = await rig.orders.metric('sidelock_connections{direction="inbound",listener="bodies"');
      t.comment(
        `${before >> 20} MiB before, ${top >> 20} MiB at most, ${Number(await group?.most()) >> 20} MiB of the group; ${open} open, ${await refused()} refused, ${await relieved()} reset`,
      );
      t.equal(rig.orders.child.exitCode ?? rig.orders.child.signalCode, null, 'it was not killed');
      t.equal((await group?.kills()) ?? 0, 0);
      if ((await refused()) > 0)
        t.match(await rig.orders.sawEvent('no_room'), { code: 'SL-LIMIT-006', reason: 'memory' });
      for (const socket of sockets) socket.destroy();
      await until(
        async () => (await rig.orders.metric('sidelock_connections{direction="inbound",listener="bodies"')) === 0,
      );
      await delay(1_000);
      t.comment(`${rig.orders.anonymous() >> 20} MiB after`);
      // On a machine so busy that it falls behind, the TCP stream may be among those that give way.
      await rig.finish(t, { refused: /^(?:(?:kept|new) connection|TCP): / });
    },
  );
}
