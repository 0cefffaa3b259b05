import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import t from 'tap';
import { overwrite, swap, testAuthority } from '../support/identity-files.ts';
import { servedSerial, startLoad } from '../support/load.ts';
import { startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const ROTATIONS = 25;

for (const [how, put, streams] of [
  ['one rename', swap, true],
  ['overwriting one file after another', overwrite, true],
  ['one rename', swap, false],
  ['overwriting one file after another', overwrite, false],
] as const) {
  const links = streams ? 'in streams' : 'without streams';
  t.test(`under load, ${ROTATIONS} rotations by ${how} fail no request, ${links}`, async (t) => {
    const authority = testAuthority();
    // No keep-alive timeout: one connection idles through all of this.
    const app = createServer({ keepAliveTimeout: 0 }, (_, response) => response.end('ok')).listen(0, '127.0.0.1');
    await once(app, 'listening');
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    const address = app.address();
    if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
    const orders = await startNode(t, {
      service: 'orders',
      authority,
      inbound: { target: { host: '127.0.0.1', port: address.port }, allow: ['web'] },
      streams,
    });
    const web = await startNode(t, {
      service: 'web',
      authority,
      outbound: { service: 'orders', address: orders.mtls },
      streams,
    });

    const load = startLoad(web.local.port, { keepAlive: 8, fresh: 2 });
    // Open from before the first rotation until after the last one.
    const old = connect(web.local);
    old.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(old, 'data');
    const probe = authority.issue('web');
    const served = new Set<string>();
    for (let i = 0; i < ROTATIONS; i++) {
      const next = authority.issue('orders');
      const answered = load.answered();
      await Promise.all([put(orders.directory, next), put(web.directory, authority.issue('web'))]);
      await until(() => orders.sidecar.identity()?.serial === next.serial);
      const serial = await servedSerial(orders.mtls.port, probe);
      t.equal(serial, next.serial, 'a new connection gets the new certificate');
      served.add(serial);
      await until(() => load.answered() > answered + 20);
    }
    t.equal(served.size, ROTATIONS);

    const before = orders.lines.length;
    // On a busy machine sets were seen between two of their files.
    const invalid = (await orders.metric('sidelock_reload_total{result="invalid"}')) ?? 0;
    await overwrite(orders.directory, { key: authority.issue('orders').key });
    await until(() => orders.lines.slice(before).some(({ event }) => event === 'identity_refused'));
    const answered = load.answered();
    await until(() => load.answered() > answered + 100);
    t.equal(orders.lines.slice(before).filter(({ event }) => event === 'identity_refused').length, 1, 'logged once');
    t.ok(served.has(await servedSerial(orders.mtls.port, probe)), 'a broken set is refused, the old one serves on');
    t.equal(await orders.metric('sidelock_reload_total{result="invalid"}'), invalid + 1);

    old.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const [answer] = await once(old, 'data');
    t.match(String(answer), /200 OK/, 'a connection from before all rotations still works');
    const { requests, failures } = await load.stop();
    t.same(failures, [], `${requests} requests, none failed`);
    t.equal(await orders.metric('sidelock_tls_contexts_built_total{role="server"}'), 1 + ROTATIONS, 'one a generation');
  });
}
