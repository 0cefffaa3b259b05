import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';
import { requireProgram } from '../support/programs.ts';

const QUICK = { MTLS_CA_KEY_SIZE: '2048' };
const LOCAL = ['--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];

t.test('a manager that runs answers the commands over its socket', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  const manager = startCli(['manager', '--storage', storage, ...LOCAL], { env: QUICK });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/next: sidelock token create orders/);
  t.match(
    manager.stdout(),
    /^manager ready on https:\/\/127\.0\.0\.1:\d+ {3}root sha256:[0-9a-f]{4}…[0-9a-f]{4} {3}storage .*pki\n(?:dashboard .*\n)?next: sidelock token create orders --storage .*\n$/,
  );

  const run = (...args: string[]) => cli([...args, '--storage', storage]);
  const generated = await run(
    'generate',
    '--service',
    'ai-conversation-service',
    '--type',
    'ai_service',
    '--sans',
    'ai-service.internal,ai.local',
  );
  t.match(generated, {
    code: 0,
    stderr: '',
    stdout: /✔ ai-conversation-service {2}spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/ai-conversation-service/,
  });
  t.match(generated.stdout, /ai-service\.internal, ai\.local/);
  t.equal(statSync(join(storage, 'ai-conversation-service/key.pem')).mode & 0o777, 0o600);

  const token = await run('token', 'create', 'orders', '--ttl', '2m');
  t.match(token, { code: 0, stderr: '', stdout: /^slk_[\w-]+\.[\w-]+\n$/ });
  const tokens = await run('token', 'list', '-o', 'json');
  const { kind, items } = JSON.parse(tokens.stdout) as {
    kind: string;
    items: Array<{ id: string; state: string; secondsLeft: number }>;
  };
  t.equal(kind, 'TokenList');
  t.match(items, [{ state: 'open' }]);
  t.ok((items[0]?.secondsLeft ?? 0) <= 120);
  t.match(await run('token', 'revoke', items[0]?.id ?? ''), { code: 0, stdout: /is revoked/ });
  t.match(await run('token', 'list'), { stdout: /^ID +SERVICE +NAMESPACE +STATE .*\n.* orders +default +used/ });
  const file = join(storage, '..', 'token');
  t.same(await run('token', 'create', 'web', '--output', file), { code: 0, signal: null, stdout: '', stderr: '' });
  t.match(readFileSync(file, 'utf8'), /^slk_[\w-]+\.[\w-]+\n$/);
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.match(await run('token', 'create', 'web', '--wait', '5'), { code: 2, stderr: /--wait 5 is no time/ });
  t.match(await run('token', 'revoke', 'ffff'), { code: 1, stderr: /SL-STORE-001/ });

  t.match(await run('list', '--no-headers'), {
    code: 0,
    stdout: /^ai-conversation-service +default +ai_service +\d{4}-\d\d-\d\d +90 d +rsa-2048\n$/,
  });
  t.match(JSON.parse((await run('list', '-o', 'json')).stdout), {
    kind: 'CertificateList',
    items: [{ service: 'ai-conversation-service', secondsLeft: Number }],
  });
  t.match(await run('show', 'ai-conversation-service'), { code: 0, stdout: /spiffe id +spiffe:.*names .*ai\.local/s });
  t.match(await run('show', 'ai-conversation-service', '--pem'), { stdout: /^-----BEGIN CERTIFICATE-----\n/ });
  t.match(await run('show', 'nobody'), { code: 1, stderr: /✖ no certificate was issued for nobody/ });
  t.match(await run('generate', '--service', 'Bad_Name'), { code: 1, stderr: /SL-NAME-002/ });
  t.match(await run('generate', '--service', 'x', '--type', 'toaster'), { code: /[12]/, stderr: /toaster/ });

  t.match(await run('manager', ...LOCAL), { code: 1, stderr: /✖ another manager \(pid \d+.*SL-STORE-002/s });

  manager.child.kill('SIGTERM');
  t.match(await manager.ended, { code: 0, signal: null, stderr: /"event":"stopping"/ });
  t.notOk(readdirSync(join(storage, '.sidelock')).includes('manager.sock'), 'the socket is gone');
});

t.test('without a manager the commands open the storage themselves, and leave it free', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  const run = (...args: string[]) => cli([...args, '--storage', storage], { env: QUICK });
  for (const words of [['list'], ['show', 'a'], ['token', 'list'], ['token', 'create', 'a']]) {
    t.match(
      await run(...words),
      { code: 1, stdout: '', stderr: /✖ there is no certificate storage in .*pki.*SL-STORE-003/s },
      words.join(' '),
    );
  }
  t.match(await run('generate', '--service', 'orders'), { code: 0 });
  t.match(await run('token', 'create', 'orders'), { code: 0, stdout: /^slk_/ });
  t.match(await cli(['list'], { env: { MTLS_STORAGE_PATH: storage } }), { code: 0, stdout: /^orders /m });
  t.notMatch(readdirSync(join(storage, '.sidelock')).join(), /lock|sock/);

  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const file = (name: string) => join(storage, 'orders', name);
  t.match(
    execFileSync(openssl, ['verify', '-CAfile', file('ca.pem'), file('cert.pem')], { encoding: 'utf8' }),
    /: OK\n$/,
  );
});

t.test('commands at the same time, and beside a manager that is starting, wait for their turn', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  const run = (...args: string[]) => cli([...args, '--storage', storage], { env: QUICK });
  const services = ['a', 'b', 'c'];
  const made = await Promise.all(services.map((service) => run('generate', '--service', service)));
  t.strictSame(
    made.map(({ code }) => code),
    [0, 0, 0],
  );

  const manager = startCli(['manager', '--storage', storage, ...LOCAL]);
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/"event":"ca_opened"/);
  t.match(await run('token', 'create', 'a'), { code: 0, stdout: /^slk_/ });
  t.match(await run('list', '--no-headers'), { stdout: /^a .*\nb .*\nc / });
});

t.test('a port in use names what wanted it and who has it', async (t) => {
  const holder = createServer();
  t.teardown(() => holder.close());
  const { port } = await listen(holder, { host: '127.0.0.1', port: 0 }, 'the test');
  const storage = join(shortDirectory(t), 'pki');
  const args = ['manager', '--storage', storage, '--listen', `127.0.0.1:${port}`, '--health', '127.0.0.1:0'];
  const { code, stderr } = await cli(args, { env: QUICK });
  t.equal(code, 1);
  t.match(stderr, `✖ 127.0.0.1:${port} for the API is in use`);
  t.match(stderr, process.platform === 'linux' ? `(pid ${process.pid}) listens there` : 'listens there');
});

t.test('the manager reads its file and its environment', async (t) => {
  const directory = shortDirectory(t);
  writeFileSync(
    join(directory, 'm.yaml'),
    'kind: Manager\nca: { name: From-File, key_size: 2048 }\nlisten: 127.0.0.1:0\nhealth: 127.0.0.1:0\n',
  );
  const manager = startCli(['manager', '--config', 'm.yaml', '-o', 'json'], {
    cwd: directory,
    env: { MTLS_STORAGE_PATH: './x' },
  });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/"ready": true/);
  manager.child.kill('SIGINT');
  const { code, stdout } = await manager.ended;
  t.equal(code, 0);
  t.match(JSON.parse(stdout), {
    ready: true,
    url: /^https:/,
    root: /^sha256:[0-9a-f]{64}$/,
    storage: './x',
    address: /^https:\/\/127/,
  });
});

t.test('a token may be asked for before the manager runs', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  const early = startCli(['token', 'create', 'orders', '--wait', '60s', '--storage', storage]);
  const manager = startCli(['manager', '--storage', storage, ...LOCAL], { env: QUICK });
  t.teardown(() => manager.child.kill('SIGKILL'));
  t.match(await early.ended, { code: 0, stdout: /^slk_/ });
  const never = await cli(['token', 'create', 'orders', '--wait', '1s', '--storage', `${storage}-none`]);
  t.match(never, { code: 3, stderr: /no manager answers on .*manager\.sock[\s\S]*--wait/ });
});
