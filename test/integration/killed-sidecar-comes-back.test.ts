import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, createServer, get } from 'node:http';
import { connect, type Server, createServer as tcpServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { listen } from '../../src/base/listen.ts';
import { type Cli, shortDirectory, startCli } from '../support/cli.ts';
import { swap, testAuthority } from '../support/identity-files.ts';
import { echo, readAll } from '../support/mesh.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

const LOCAL = { host: '127.0.0.1', port: 0 };

for (const streams of ['on', 'off']) {
  t.test(`HTTP, streams ${streams}: requests under way and after get a code, and work again`, async (t) => {
    const pair = await startPair(
      t,
      'http',
      streams,
      createServer((_, response) => response.end('hello')),
    );
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    t.teardown(() => agent.destroy());
    const ask = async () => {
      const [response] = await once(get({ host: '127.0.0.1', port: pair.port, agent }), 'response');
      return `${response.statusCode} ${await readAll(response)}`;
    };
    const answers: string[] = [];
    let going = true;
    const load = Array.from({ length: 4 }, async () => {
      while (going) answers.push(await ask());
    });
    await until(() => answers.length > 100);
    await pair.kill();
    const before = answers.length;
    await until(() => answers.length > before + 20);
    going = false;
    await Promise.all(load);
    const odd = answers.filter((answer) => answer !== '200 hello' && !/^50[234] SL-(UP|HTTP|TLS)-\d+/.test(answer));
    t.same(odd, [], 'each request had its answer, or an error with a code');
    t.match(answers.at(-1), /^50[23] SL-/, 'while it is away');
    await pair.again();
    t.equal(await ask(), '200 hello', 'the next request works');
  });

  t.test(`TCP, streams ${streams}: what was open is closed at once, and new connections work again`, async (t) => {
    const pair = await startPair(t, 'tcp', streams, tcpServer({ allowHalfOpen: true }, echo));
    const open = connect(pair.port, '127.0.0.1');
    t.teardown(() => open.destroy());
    open.write('ping');
    t.equal(String((await once(open, 'data'))[0]), 'ping');
    const broken = once(open, 'end').then(
      () => 'a clean end',
      (error) => error.code,
    );
    await pair.kill();
    // A killed process ends TCP without a close_notify, which Node takes for an end (SECURITY.md); a stream ends only by
    // its own frame.
    t.equal(await broken, streams === 'on' ? 'ECONNRESET' : 'a clean end', 'what was open');
    const late = connect(pair.port, '127.0.0.1').resume();
    t.teardown(() => late.destroy());
    late.on('error', () => {}).write('ping');
    const ended = once(late, 'end').then(
      () => 'a clean end',
      (error) => error.code,
    );
    t.equal(await ended, 'ECONNRESET', 'what is opened while it is away');
    await pair.again();
    const next = connect(pair.port, '127.0.0.1');
    t.teardown(() => next.destroy());
    next.write('pong');
    t.equal(String((await once(next, 'data'))[0]), 'pong');
  });
}

/** Two sidecars as processes, of which that of `orders` can be killed and started again at the same port. */
async function startPair(t: Test, protocol: 'http' | 'tcp', streams: string, app: Server) {
  const { port: appPort } = await listen(app, LOCAL, 'the app');
  t.teardown(() => app.close());
  const authority = testAuthority();
  const mtls = `127.0.0.1:${await freePort()}`;
  const port = await freePort();
  const files = { orders: shortDirectory(t), web: shortDirectory(t) };
  await swap(files.orders, authority.issue('orders'));
  await swap(files.web, authority.issue('web'));
  const start = async (service: 'orders' | 'web', ports: object): Promise<Cli> => {
    const config = join(shortDirectory(t), 'sidecar.yaml');
    const identity = { source: 'files', directory: files[service] };
    const text = { apiVersion: 'sidelock/v1', kind: 'Sidecar', identity, streams, log: { level: 'error' }, ...ports };
    writeFileSync(config, JSON.stringify(text));
    const sidecar = startCli(['sidecar', '--config', config]);
    t.teardown(() => sidecar.child.kill('SIGKILL'));
    await sidecar.saw(/sidecar ready/);
    return sidecar;
  };
  const inbound = [{ listen: mtls, target: `127.0.0.1:${appPort}`, protocol, allow: ['web'] }];
  let orders = await start('orders', { inbound });
  await start('web', { outbound: [{ listen: `127.0.0.1:${port}`, service: 'orders', address: mtls, protocol }] });
  return {
    port,
    async kill() {
      orders.child.kill('SIGKILL');
      await orders.ended;
    },
    async again() {
      orders = await start('orders', { inbound });
    },
  };
}
