import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';

const QUICK = { MTLS_CA_KEY_SIZE: '2048', MTLS_CERTIFICATES_KEY_TYPE: 'ecdsa-p256' };

interface Item {
  readonly id: string;
  readonly group: string;
  readonly status: string;
  readonly summary: string;
  readonly why?: string;
  readonly fix?: string;
}

t.test('check tells what is wrong with machine, storage, manager and sidecar, and what to do', async (t) => {
  const directory = shortDirectory(t);
  const storage = join(directory, 'pki');
  const file = join(directory, 'manager.yaml');
  const taken = createServer();
  const { port } = await listen(taken, { host: '127.0.0.1', port: 0 }, 'a test');
  t.teardown(() => taken.close());
  const run = (...args: string[]) => cli(['check', ...args], { env: QUICK });
  const report = async (...args: string[]) => {
    const { stdout, code } = await run(...args, '-o', 'json');
    const { items }: { items: Item[] } = JSON.parse(stdout);
    return { code, items, by: (id: string) => items.filter((item) => item.id === id) };
  };
  writeFileSync(
    file,
    `kind: Manager
listen: 127.0.0.1:0
health: 127.0.0.1:0
storage: { path: ${storage} }
monitoring: { webhook: { url: "http://127.0.0.1:1/" }, alertmanager: { url: "http://127.0.0.1:${port}" } }
`,
  );

  t.match(await run('--config', file), { code: 1, stdout: /✖ storage\.directory +error: .*\n +why .*\n +fix .*--pre/ });
  const before = await report('--pre', '--storage', storage, '--only', 'storage,machine.ports');
  t.match(before.by('storage.directory'), [{ status: 'ok', summary: /can be made/ }]);
  writeFileSync(join(directory, 'ports.yaml'), `kind: Manager\nlisten: 127.0.0.1:${port}\nhealth: 127.0.0.1:0\n`);
  t.match(await run('--pre', '--config', join(directory, 'ports.yaml'), '--only', 'machine.ports'), {
    code: 1,
    stdout: new RegExp(`✖ machine\\.ports +error: 127.0.0.1:${port} for the API is in use\\n +why .*\\n +fix `),
  });

  const manager = startCli(['manager', '--config', file], { env: QUICK });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/manager ready/);
  const { code } = await cli(['generate', '--service', 'held', '--type', 'api_service', '--config', file], {
    env: QUICK,
  });
  t.equal(code, 0);
  const { stdout: token } = await cli(['token', 'create', 'orders', '--config', file], { env: QUICK });
  writeFileSync(
    join(directory, 'sidecar.yaml'),
    `kind: Sidecar
service: orders
identity: { source: manager, directory: ${join(directory, 'orders')} }
admin: { listen: 127.0.0.1:0 }
inbound: [{ name: in, listen: 127.0.0.1:0, target: 127.0.0.1:1, mode: permissive, allow: any }]
`,
  );
  const sidecar = startCli(
    ['sidecar', '--config', join(directory, 'sidecar.yaml'), '--token', token.trim(), '-o', 'json'],
    { env: QUICK },
  );
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  const [, admin = ''] = await sidecar.saw(/"admin":"http:\/\/([^"]+)"/);
  await sidecar.saw(/crl_loaded/);

  const running = await report('--config', file, '--admin', admin);
  t.equal(running.code, 1);
  const faults = running.items.filter(({ status }) => status !== 'ok').map(({ id, status }) => `${status} ${id}`);
  t.strictSame(
    faults.filter((one) => !one.endsWith('machine.node')),
    ['error alerts.receivers', 'info ca.passphrase', 'warning sidecar.plaintext'],
  );
  for (const { id, group, status, fix } of running.items) {
    t.equal(id.split('.')[0], group);
    if (status !== 'ok') t.match(fix, /./, `${id} says what to do`);
  }
  t.match(running.by('alerts.receivers'), [
    { summary: 'webhook at 127.0.0.1:1 cannot be reached', why: /ECONNREFUSED/ },
  ]);
  t.match(running.by('sidecars.bundle'), [{ summary: '1 sidecars have the bundle in force' }]);
  t.match(running.by('sidecar.served'), [{ status: 'ok' }]);
  t.match(await report('--config', file, '--only', 'ca,trust,certificates'), { code: 0 });

  const key = join(storage, 'held', 'key.pem');
  chmodSync(key, 0o644);
  writeFileSync(join(storage, 'held', 'ca.pem'), '');
  const hurt = await report('--config', file, '--only', 'storage,certificates', '--expiry-threshold', '400d');
  t.match(hurt.by('storage.modes'), [{ status: 'error', summary: `${key} is open to other users`, why: /0644/ }]);
  t.ok(hurt.by('certificates.fit').length > 0, 'and a bundle without a root');
  t.match(hurt.by('certificates.expiry'), [{ status: 'warning' }, { status: 'warning' }]);

  manager.child.kill('SIGTERM');
  await manager.ended;
  chmodSync(key, 0o644);
  const stopped = await run('--config', file, '--only', 'manager,storage', '--fail-on', 'warning');
  t.match(stopped, { code: 1, stdout: /‼ manager\.running +warning: no manager runs/ });
  t.match(stopped.stdout, /✖ storage\.modes/, 'what a start corrects is told all the same');
  t.equal(statSync(join(storage, '.sidelock')).mode & 0o777, 0o700);

  sidecar.child.kill('SIGKILL');
  await sidecar.ended;
  t.match(await run('--admin', admin), { code: 1, stdout: /✖ sidecar\.answers +error: no sidecar answers/ });
});
