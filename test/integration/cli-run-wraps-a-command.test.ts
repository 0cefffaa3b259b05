import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { freePort } from '../support/servers.ts';

const QUICK = { MTLS_CA_KEY_SIZE: '2048' };

t.test('sidelock run and sidelock sidecar, enrolled by token', async (t) => {
  const cwd = shortDirectory(t);
  const storage = join(cwd, 'pki');
  const manager = startCli(['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'], {
    env: QUICK,
  });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/manager ready/);
  const tokenFor = async (service: string) =>
    (await cli(['token', 'create', service, '--storage', storage])).stdout.trim();

  const slow = Promise.withResolvers<() => void>();
  const app = createServer(({ url }, response) => {
    const answer = () => response.end('hello from the app');
    if (url === '/slow') slow.resolve(answer);
    else answer();
  });
  t.teardown(() => app.closeAllConnections());
  t.teardown(() => app.close());
  const { port } = await listen(app, { host: '127.0.0.1', port: 0 }, 'the app');
  const inbound = ['--inbound', `127.0.0.1:0:127.0.0.1:${port}`, '--allow', 'web'];
  const orders = startCli(['sidecar', '--service', 'orders', ...inbound, '--token', await tokenFor('orders')], { cwd });
  t.teardown(() => orders.child.kill('SIGKILL'));
  const [, mtls = ''] = await orders.saw(/^(127\.0\.0\.1:\d+) \(mTLS, allow web\) → 127\.0\.0\.1:\d+$/m);
  t.match(
    orders.stdout(),
    /^sidecar ready\nidentity spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/orders until \d{4}-\d\d-\d\d\n/,
  );
  t.equal(readFileSync(join(cwd, '.sidelock/.gitignore'), 'utf8'), '*\n', 'the key cannot be committed by accident');

  const web = ['run', '--service', 'web', '--upstream', `127.0.0.1:0=orders@${mtls}`];
  const token = await tokenFor('web');
  const script = (text: string) => ['--', process.execPath, '-e', text];

  await t.test('the command starts when the sidecar is ready, and its exit code is returned', async (t) => {
    const { code, stdout, stderr } = await cli(
      [...web, '--token', token, ...script('console.log("from the command"); process.exit(7)')],
      { cwd },
    );
    t.equal(code, 7);
    t.equal(stdout, 'from the command\n', 'standard output is the command’s alone');
    t.match(stderr, /^sidelock: identity spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/web until /m);
    t.match(stderr, /^sidelock: 127\.0\.0\.1:\d+ → orders at 127\.0\.0\.1:\d+, expecting orders$/m);
  });

  await t.test('the command calls through both sidecars, and the next start needs no token', async (t) => {
    const upstream = createServer();
    const free = (await listen(upstream, { host: '127.0.0.1', port: 0 }, 'a probe')).port;
    await new Promise((resolve) => upstream.close(resolve));
    const args = ['run', '--service', 'web', '--upstream', `${free}=orders@${mtls}`];
    const call = `fetch("http://127.0.0.1:${free}/").then((r) => r.text()).then(console.log)`;
    t.match(await cli([...args, ...script(call)], { cwd }), { code: 0, stdout: 'hello from the app\n' });
  });

  await t.test('signals are passed on, and 128 + n is returned for one that kills', async (t) => {
    const wait =
      'process.on("SIGUSR2", () => { console.log("usr2"); process.kill(process.pid, "SIGKILL") }); console.log("up"); setInterval(() => {}, 1000)';
    const running = startCli([...web, ...script(wait)], { cwd });
    t.teardown(() => running.child.kill('SIGKILL'));
    await running.saw(/up\n/);
    running.child.kill('SIGUSR2');
    t.match(await running.ended, { code: 137, stdout: 'up\nusr2\n' });

    const polite = 'process.on("SIGTERM", () => process.exit(3)); console.log("up"); setInterval(() => {}, 1000)';
    const second = startCli([...web, ...script(polite)], { cwd });
    t.teardown(() => second.child.kill('SIGKILL'));
    await second.saw(/up\n/);
    second.child.kill('SIGTERM');
    t.match(await second.ended, { code: 3 });
  });

  await t.test(
    'SIGTERM while a slow request is on its way: it completes, and the code of the job is returned',
    async (t) => {
      const port = await freePort();
      const job = `
      process.on("SIGTERM", () => console.log("asked to end"));
      const response = await fetch("http://127.0.0.1:${port}/slow");
      console.log(response.status, await response.text());
      process.exit(9);`;
      const args = ['run', '--service', 'web', '--upstream', `${port}=orders@${mtls}`];
      const running = startCli([...args, '--', process.execPath, '--input-type=module', '-e', job], { cwd });
      t.teardown(() => running.child.kill('SIGKILL'));
      const answer = await slow.promise;
      running.child.kill('SIGTERM');
      await running.saw(/asked to end/);
      answer();
      t.match(await running.ended, { code: 9, stdout: 'asked to end\n200 hello from the app\n' });
    },
  );

  await t.test('as a shell: 127 for no such program, 126 for one that is not executable', async (t) => {
    t.match(await cli([...web, '--', 'no-such-program'], { cwd }), {
      code: 127,
      stderr: /✖ cannot start no-such-program.*SL-RUN-001/s,
    });
    t.match(await cli([...web, '--', join(cwd, 'pki/.sidelock/audit.log')], { cwd }), {
      code: 126,
      stderr: /SL-RUN-001/,
    });
    t.match(await cli(web, { cwd }), { code: 2, stderr: /missing required argument 'command'/ });
  });

  await t.test('a token that can never work is told at once', async (t) => {
    t.match(await cli([...web, '--token', '', ...script('')], { cwd }), { code: 1, stderr: /SL-TOK-001/ });
    const wrong = ['run', '--service', 'other', '--upstream', `127.0.0.1:0=orders@${mtls}`, '--token', token];
    t.match(await cli([...wrong, ...script('')], { cwd }), {
      code: 1,
      stderr: /✖ the join token is for default\/web\n/,
    });
  });

  await t.test('a signal before the sidecar is ready ends it, and the command never starts', async (t) => {
    const lost = [
      'run',
      '--service',
      'lost',
      '--upstream',
      `127.0.0.1:0=orders@${mtls}`,
      '--manager',
      'https://127.0.0.1:1',
      '--token',
      await tokenFor('lost'),
    ];
    const waiting = startCli([...lost, ...script('console.log("started")')], { cwd });
    await waiting.saw(/sidelock: ✖/);
    waiting.child.kill('SIGTERM');
    t.match(await waiting.ended, { code: 143, stdout: '' });
  });

  orders.child.kill('SIGTERM');
  t.match(await orders.ended, { code: 0, signal: null });
});
