import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

t.test(
  'a caller without TLS is named and strict refused; once it is gone strict is safe, and the change drops nothing',
  async (t) => {
    const rig = await start(t);
    const { orders, port, file, migrate } = rig;
    const legacy = await openEcho(port);
    const refused = await migrate('--to', 'strict', '--config', file, '--window', '1ms');
    t.equal(refused.code, 1);
    t.match(
      refused.stderr,
      /strict would cut somebody off: inbound(?:.|\n)*1 connections in plaintext are open(?:.|\n)*SL-MODE-001/,
    );
    legacy.destroy();
    const named = await migrate('--window', '7d');
    t.equal(named.code, 1);
    t.match(named.stdout, /127\.0\.0\.1\)? called in plaintext: 1 connections(?:.|\n)*not yet: keep mode: permissive/);
    t.match(
      await migrate('--to', 'strict', '--config', file),
      { code: 1, stderr: /SL-MODE-001/ },
      'nor within the window',
    );
    t.match(readFileSync(file, 'utf8'), 'mode: permissive # until the old callers are gone');

    const before = orders.child.pid;
    const web = await startNode(t, {
      service: 'web',
      authority: rig.authority,
      outbound: { service: 'orders', address: { host: '127.0.0.1', port } },
      streams: false,
    });
    const lasting = await openEcho(web.local.port);
    const load = startCalls(web.local.port);
    await load.calls(20);
    t.match(await migrate('--window', '1ms'), { code: 0, stdout: /nobody would be cut off: strict is safe/ });
    const done = await migrate('--to', 'strict', '--config', file, '--window', '1ms', '-o', 'json');
    t.equal(done.code, 0, done.stderr);
    t.match(JSON.parse(done.stdout), { mode: 'strict', changed: ['inbound'], file });
    await load.calls(20);
    const { made, failed } = await load.stop();
    t.equal(failed, 0, `of ${made} connections through mTLS none failed`);
    t.ok(await echoes(lasting, 'still here'), 'an open one lives on');
    t.notOk(await answered(port), 'plaintext gets nothing');
    t.equal(orders.child.exitCode, null);
    t.equal(orders.child.pid, before, 'nothing was restarted');
    t.match(readFileSync(file, 'utf8'), 'mode: strict # until the old callers are gone', 'and it lasts');
    t.match(await migrate(), { code: 0, stdout: /inbound: strict already/ });
    t.match(await migrate('--to', 'strict', '--config', file), { code: 0, stdout: /nothing to change/ });

    t.match(await migrate('--to', 'permissive', '--config', file), { code: 0 }, 'one command back');
    t.ok(await answered(port));
  },
);

t.test('--force goes strict knowingly: open connections stay, new ones without TLS are refused', async (t) => {
  const { port, file, migrate } = await start(t);
  const legacy = await openEcho(port);
  const forced = await migrate('--to', 'strict', '--config', file, '--force');
  t.match(forced, { code: 0, stdout: /1 connections in plaintext stay until they end/ });
  t.ok(await echoes(legacy, 'still'));
  t.notOk(await answered(port));
  legacy.destroy();
});

t.test('who called without TLS is remembered over a restart', async (t) => {
  const rig = await start(t);
  (await openEcho(rig.port)).destroy();
  rig.orders.child.kill('SIGTERM');
  t.equal((await rig.orders.ended).code, 0);
  await rig.startOrders();
  const said = JSON.parse((await rig.migrate('-o', 'json')).stdout);
  t.match(said.permissive, [{ listener: 'inbound', safe: false, callers: [{ address: '127.0.0.1', connections: 1 }] }]);
});

t.test('wrong usage, and a file that the sidecar does not follow, are told', async (t) => {
  const { directory, file, migrate } = await start(t);
  t.match(await migrate('--to', 'strict'), { code: 2, stderr: /--to and --config belong together/ });
  t.match(await migrate('--listener', 'other'), { code: 2, stderr: /the sidecar has no inbound "other"/ });
  const other = join(directory, 'other.yaml');
  writeFileSync(other, readFileSync(file, 'utf8').replace('- listen', '- name: other\n    listen'));
  const wrong = await migrate('--to', 'strict', '--force', '--config', other);
  t.match(wrong, { code: 2, stderr: /has no inbound "inbound"(?:.|\n)*SL-CFG-006/ });
});

t.test('HTTP callers without TLS finish their request, then have to come back; threads change together', async (t) => {
  const authority = testAuthority();
  let answer: (() => void) | undefined;
  const app = await startApp(t, (socket) => {
    socket.on('data', () => {
      answer = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target: { host: '127.0.0.1', port: app }, allow: 'any', mode: 'permissive' },
    protocol: 'http',
    workers: 2,
  });
  const caller = connect(orders.mtls.port, '127.0.0.1');
  caller.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => answer !== undefined);
  await orders.sidecar.setRules([{ name: 'in', allow: 'any', mode: 'strict' }]);
  answer?.();
  const text = String((await once(caller, 'data'))[0]);
  t.match(text, /^HTTP\/1.1 200 OK\r\n/);
  t.match(text, /^connection: close\r$/im);
  await once(caller, 'close');
  for (let i = 0; i < 8; i++) t.notOk(await answered(orders.mtls.port), 'either thread');
  t.equal(await orders.metric('sidelock_permissive{listener="in"}'), 0);
});

/** A sidecar of the command line, permissive, that follows its file. */
async function start(t: Test) {
  const authority = testAuthority();
  const directory = shortDirectory(t);
  const identity = join(directory, 'id');
  await swap(identity, authority.issue('orders'));
  const app = await startApp(t, echo);
  const [port, admin] = [await freePort(), await freePort()];
  const file = join(directory, 'orders.yaml');
  writeFileSync(
    file,
    `kind: Sidecar
identity: { source: files, directory: ${identity} }
state: ${join(directory, 'seen')}
admin: { listen: 127.0.0.1:${admin} }
inbound:
  - listen: 127.0.0.1:${port}
    target: 127.0.0.1:${app}
    mode: permissive # until the old callers are gone
    allow: any
`,
  );
  const startOrders = async () => {
    const sidecar = startCli(['sidecar', '--config', file]);
    t.teardown(() => sidecar.child.kill('SIGKILL'));
    await sidecar.saw(/sidecar ready/);
    return sidecar;
  };
  const orders = await startOrders();
  const migrate = (...flags: string[]) => cli(['migrate', '--admin', `127.0.0.1:${admin}`, ...flags]);
  return { authority, directory, orders, port, file, migrate, startOrders };
}

/** A connection whose first byte came back. */
async function openEcho(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await echoes(socket, 'x');
  return socket;
}

async function echoes(socket: Socket, text: string): Promise<boolean> {
  socket.write(text);
  return String((await once(socket, 'data'))[0]) === text;
}

/** Whether one without TLS gets its bytes back. */
function answered(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((resolve) => {
    socket.on('error', () => {});
    socket.once('close', () => resolve(false));
    socket.once('data', (bytes: Buffer) => {
      // An alert of TLS is no answer of the app.
      resolve(bytes[0] !== 0x15);
      socket.destroy();
    });
    socket.write('x\r\n\r\n');
  });
}

/** A connection after the other, until it is stopped. */
function startCalls(port: number) {
  let [made, failed, stopped] = [0, 0, false];
  const running = (async () => {
    while (!stopped) {
      const ok = await answered(port);
      made++;
      if (!ok) failed++;
    }
  })();
  return {
    async calls(more: number) {
      const until = made + more;
      while (made < until) await new Promise(setImmediate);
    },
    async stop() {
      stopped = true;
      await running;
      return { made, failed };
    },
  };
}
