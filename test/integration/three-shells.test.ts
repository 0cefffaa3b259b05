import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { listen } from '../../src/base/listen.ts';
import { type Cli, shortDirectory, startCli } from '../support/cli.ts';
import { startLoad } from '../support/load.ts';
import { requireProgram } from '../support/programs.ts';
import { freePort, run } from '../support/servers.ts';
import { until } from '../support/until.ts';

t.test(
  "manager, a sidecar for orders, a sidecar for web: a call, the guide's openssl commands, a manager that is away",
  async (t) => {
    const curl = requireProgram(t, 'curl');
    const openssl = requireProgram(t, 'openssl');
    if (curl === undefined || openssl === undefined) return;
    const directory = shortDirectory(t);
    const storage = join(directory, 'pki');
    const api = `127.0.0.1:${await freePort()}`;

    // Leaves of half a minute, renewed at two thirds of that.
    const config = join(directory, 'manager.yaml');
    writeFileSync(
      config,
      [
        'apiVersion: sidelock/v1',
        'kind: Manager',
        `listen: ${api}`,
        'health: 127.0.0.1:0',
        `storage: { path: ${storage} }`,
        'ca: { keySize: 2048 }',
        'certificates: { validity: 30s, keyType: ecdsa-p256 }',
      ].join('\n'),
    );
    const startManager = async () => {
      const manager = shell(t, ['manager', '--config', config]);
      await manager.saw(/manager ready/);
      return manager;
    };
    let manager = await startManager();
    const token = async (service: string) => {
      const made = startCli(['token', 'create', service, '--storage', storage]);
      return (await made.ended).stdout.trim();
    };

    const app = createServer((_, response) => response.end('orders says hello'));
    const appPort = (await listen(app, { host: '127.0.0.1', port: 0 }, 'the app')).port;
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    const inbound = await freePort();
    const outbound = await freePort();
    const sidecar = async (service: string, ...flags: string[]) => {
      const identity = join(directory, service);
      const common = ['--service', service, '--identity', identity, '--admin', '127.0.0.1:0'];
      const started = shell(t, ['sidecar', ...common, '--token', await token(service), ...flags]);
      await started.saw(/sidecar ready/);
      return started;
    };
    await sidecar('orders', '--inbound', `127.0.0.1:${inbound}:127.0.0.1:${appPort}`, '--allow', 'web');
    const web = await sidecar('web', '--upstream', `${outbound}=orders@127.0.0.1:${inbound}`);

    const url = `http://127.0.0.1:${outbound}/`;
    t.equal((await run(curl, ['-sS', url])).stdout, 'orders says hello', 'curl reaches the app of orders through mTLS');

    const file = (service: string, name: string) => join(directory, service, name);
    const ca = ['-CAfile', file('web', 'ca.pem')];
    t.match(
      (await run(openssl, ['x509', '-in', file('orders', 'cert.pem'), '-text', '-noout'])).stdout,
      /spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/orders/,
    );
    t.match((await run(openssl, ['verify', ...ca, file('orders', 'cert.pem')])).stdout, /: OK/);
    const client = ['-cert', file('web', 'cert.pem'), '-key', file('web', 'key.pem'), ...ca, '-verify_return_error'];
    const handshake = run(openssl, ['s_client', '-connect', `127.0.0.1:${inbound}`, ...client, '-ign_eof']);
    handshake.child.stdin?.end('GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n');
    t.match((await handshake).stdout, /Verification: OK[\s\S]*orders says hello/);

    const load = startLoad(outbound, { keepAlive: 2, fresh: 2 });
    await until(() => load.answered() > 50);
    manager.child.kill('SIGTERM');
    t.equal((await manager.ended).code, 0, 'the manager stops in order');
    await web.saw(/"event":"renewal_failed"/);
    const during = load.answered();
    await until(() => load.answered() > during + 100);
    manager = await startManager();
    await web.saw(/"event":"renewed"/);
    const after = load.answered();
    await until(() => load.answered() > after + 100);
    const { requests, failures } = await load.stop();
    t.same(failures, [], `${requests} requests while the manager was away for longer than a renewal, none failed`);
  },
);

function shell(t: Test, args: readonly string[]): Cli {
  const started = startCli(args);
  t.teardown(async () => {
    started.child.kill('SIGTERM');
    await started.ended;
  });
  return started;
}
