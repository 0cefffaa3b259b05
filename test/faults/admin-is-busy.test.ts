import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { shortDirectory } from '../support/cli.ts';
import { startSidecarProcess } from '../support/faults/process.ts';
import { startFaultRig } from '../support/faults/rig.ts';
import { testAuthority } from '../support/identity-files.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

const SLOW_CLIENTS = 1_000;

t.test('F35 the admin port is taken: it ends before it serves anybody', async (t) => {
  const somebody = createServer();
  t.teardown(() => somebody.close());
  const { port } = await listen(somebody, { host: '127.0.0.1', port: 0 }, 'somebody');
  const inbound = await freePort();
  const sidecar = await startSidecarProcess(t, {
    directory: shortDirectory(t),
    authority: testAuthority(),
    service: 'orders',
    ready: false,
    config: {
      admin: { listen: `127.0.0.1:${port}` },
      inbound: [{ listen: `127.0.0.1:${inbound}`, target: '127.0.0.1:1', allow: ['web'] }],
    },
  });
  const { code, stderr } = await sidecar.ended;
  t.equal(code, 1);
  t.match(stderr, /SL-NET-001/);
  t.same(sidecar.events('listening'), []);
  await t.rejects(once(connect({ port: inbound, host: '127.0.0.1' }), 'connect'), { code: 'ECONNREFUSED' });
});

t.test(`F35 100 scrapes a second, then ${SLOW_CLIENTS} slow clients: traffic goes on`, async (t) => {
  const rig = await startFaultRig(t);
  for (const { admin } of [rig.orders, rig.web]) {
    const scraped = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        await delay(i * 10);
        return (await fetch(`${admin()}/metrics`)).text();
      }),
    );
    t.ok(scraped.every((text) => text.includes('sidelock_connections{')));

    rig.steady.phase('slow clients');
    const { port, hostname } = new URL(admin());
    const sockets = Array.from({ length: SLOW_CLIENTS }, () => {
      const socket = connect({ port: Number(port), host: hostname });
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      socket.write('GET /metrics HT');
      return socket;
    });
    // Each is closed: those beyond the limit at once, the others as their head does not come.
    await Promise.all(sockets.map((socket) => (socket.destroyed ? undefined : once(socket.resume(), 'close'))));
    await until(async () => (await fetch(`${admin()}/healthz`).catch(() => undefined))?.status === 200);
  }
  await rig.finish(t);
});
