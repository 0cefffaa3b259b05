import { once } from 'node:events';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { shortDirectory, startCli } from '../support/cli.ts';
import { startHttp } from '../support/http-rig.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startPair } from '../support/mesh.ts';

for (const streams of [true, false]) {
  t.test(`open connections that new rules deny are closed, streams ${streams}`, async (t) => {
    const { orders, web } = await startPair(t, echo, { streams });
    const socket = connect(web.local);
    socket.on('error', () => {});
    socket.write('x');
    await once(socket, 'data');
    const rules = (allow: string[]) => orders.sidecar.setRules([{ name: 'in', allow }]);
    t.equal(await rules(['web', 'other']), 0);
    socket.write('y');
    await once(socket, 'data');
    await t.rejects(rules(['ok', 'NOT']), { code: 'SL-CFG-003' });
    await t.rejects(orders.sidecar.setRules([{ name: 'in', allow: [{ service: 'web', paths: ['/a'] }] }]), {
      code: 'SL-CFG-003',
    });
    socket.write('z');
    await once(socket, 'data');
    t.pass('bad rules change nothing');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    t.equal(await rules(['other']), 1);
    await closed;
    t.match(
      orders.lines.filter(({ event }) => event === 'connection_closed'),
      [{ reason: 'denied', listener: 'in', peer: { id: /web$/ } }],
    );
    t.equal(
      await orders.metric('sidelock_connections_closed_total{direction="inbound",listener="in",reason="denied"}'),
      1,
    );
    t.equal(await orders.metric('sidelock_links{direction="inbound"'), 0);
    const again = connect(web.local);
    again.on('error', () => {});
    again.write('x');
    await new Promise((resolve) => again.once('close', resolve));
    t.equal(again.bytesRead, 0);
  });
}

t.test(
  'an HTTP connection lives on under new rules for its requests, and ends when its caller is denied',
  async (t) => {
    const rig = await startHttp(t);
    const client = await rig.inbound();
    const ask = async (path: string) => {
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      return (await client.response())?.status;
    };
    t.equal(await ask('/a'), 200);
    await rig.orders.sidecar.setRules([{ name: 'in', allow: [{ service: 'web', paths: ['/b'] }] }]);
    t.equal(await ask('/a'), 403);
    t.equal(await ask('/b'), 200);
    await rig.orders.sidecar.setRules([{ name: 'in', allow: ['other'] }]);
    await client.closed;
  },
);

t.test('a changed config file is taken up, a bad one is not, SIGHUP reads it again', async (t) => {
  const { sidecar, write, authority, port, metrics } = await startConfigured(t);
  const call = (service: string) => answers(authority, service, port);
  t.equal(await call('web'), true);
  t.equal(await call('ops'), false);

  await write('allow: [ops]');
  await sidecar.saw(/"event":"config_reloaded".*"changed":true/);
  t.equal(await call('ops'), true);
  t.equal(await call('web'), false);

  await write('allow: [web');
  await sidecar.saw(/"event":"config_reload_failed"/);
  t.equal(await call('ops'), true, 'the rules of before');
  t.match(await metrics(), 'sidelock_config_last_reload_successful 0');

  await write('allow: [ops]\n    name: other');
  await sidecar.saw(/"restart":\["inbound"\]/);
  t.match(await metrics(), 'sidelock_config_last_reload_successful 1');

  sidecar.child.kill('SIGHUP');
  await sidecar.saw(/"restart":\["inbound"\](?:.|\n)*"restart":\["inbound"\]/);
  sidecar.child.kill('SIGTERM');
  t.equal((await sidecar.ended).code, 0, 'SIGHUP did not end it');
});

async function startConfigured(t: Test) {
  const authority = testAuthority();
  const directory = shortDirectory(t);
  const identity = join(directory, 'id');
  await swap(identity, authority.issue('orders'));
  const app = await startApp(t, echo);
  const file = join(directory, 'config', 'c.yaml');
  const write = async (allow: string) => {
    await writeFile(
      `${directory}/next`,
      `kind: Sidecar
identity: { source: files, directory: ${identity} }
admin: { listen: 127.0.0.1:0 }
inbound:
  - listen: 127.0.0.1:0
    target: 127.0.0.1:${app}
    ${allow}
`,
    );
    await rename(`${directory}/next`, file);
  };
  await mkdir(join(directory, 'config'));
  await write('allow: [web]');
  const sidecar = startCli(['sidecar', '--config', file, '-o', 'json']);
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  await sidecar.saw(/"ready": true(?:.|\n)*\n\}/);
  const { inbound, admin } = JSON.parse(sidecar.stdout());
  return {
    sidecar,
    authority,
    write,
    port: Number(inbound[0].address.port),
    metrics: async () => (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text(),
  };
}

/** Whether a caller with this identity reaches the app. */
function answers(authority: ReturnType<typeof testAuthority>, service: string, port: number): Promise<boolean> {
  const { cert, key, ca } = authority.issue(service);
  const socket = tlsConnect({ port, host: '127.0.0.1', cert, key, ca, checkServerIdentity: () => undefined });
  return new Promise((resolve) => {
    socket.on('error', () => {});
    socket.once('close', () => resolve(false));
    socket.once('data', () => {
      resolve(true);
      socket.destroy();
    });
    socket.write('x');
  });
}
