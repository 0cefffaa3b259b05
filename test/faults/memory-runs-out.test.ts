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

const LIMIT = 96 << 20;
const READERS = 2_000;
const BODY = 10 << 20;

for (const [streams, protocol, where] of [
  [true, 'http', 'orders'],
  [true, 'tcp', 'orders'],
  [false, 'tcp', 'orders'],
  [true, 'tcp', 'web'],
] as const) {
  const direction = where === 'orders' ? 'inbound' : 'outbound';
  t.test(
    `F17 ${READERS} slow readers of 10 MiB bodies in ${LIMIT >> 20} MiB, ${direction}, ${protocol}, streams ${streams}`,
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
      const bounded = group === undefined ? { config: { limits: { maxMemory: '67MiB' } } } : { before: group.enter };
      const rig = await startFaultRig(t, {
        streams,
        program: SIDECAR,
        orders: {
          ...(where === 'orders' ? bounded : {}),
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
          ...(where === 'web' ? bounded : {}),
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
      const sidecar = rig[where];
      const labels = `direction="${direction}",listener="bodies"`;
      const refused = () => sidecar.metric(`sidelock_connections_refused_total{${labels},reason="memory"}`);
      const relieved = () => sidecar.metric(`sidelock_connections_closed_total{${labels},reason="memory"}`);
      const open = () => sidecar.metric(`sidelock_connections{${labels}`);
      const before = sidecar.anonymous();
      let [top, topOfSockets] = [before, 0];
      const look = () => {
        top = Math.max(top, sidecar.anonymous());
        topOfSockets = Math.max(topOfSockets, group?.sockets() ?? 0);
      };
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
          look();
        }
      }
      await delay(2_000);
      look();
      const mib = (bytes = 0) => Math.round(bytes / 2 ** 20);
      t.comment(
        `${mib(before)} MiB before, ${mib(top)} at most, ${mib(await group?.most())} of the group, ${mib(topOfSockets)} seen in its sockets; ${await open()} open, ${await refused()} refused, ${await relieved()} reset`,
      );
      t.equal(sidecar.child.exitCode ?? sidecar.child.signalCode, null, 'it was not killed');
      t.equal((await group?.kills()) ?? 0, 0);
      if ((await refused()) > 0) t.match(await sidecar.sawEvent('no_room'), { code: 'SL-LIMIT-006', reason: 'memory' });
      for (const socket of sockets) socket.destroy();
      await until(async () => (await open()) === 0);
      await until(() => answers(outbound));
      t.pass('newcomers are served again');
      await until(async () => (await open()) === 0);
      t.comment(`${mib(sidecar.anonymous())} MiB after`);
      // On a machine so busy that it falls behind, the TCP stream may be among those that give way.
      await rig.finish(t, { refused: /^(?:(?:kept|new) connection|TCP): / });
    },
  );
}

/** Whether the first bytes of an answer arrive. */
async function answers(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write('GET / HTTP/1.1\r\nhost: orders\r\n\r\n');
  try {
    const [first] = await once(socket, 'data');
    return `${first}`.startsWith('HTTP/1.1 200');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
