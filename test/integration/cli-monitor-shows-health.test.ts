import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory, startCli } from '../support/cli.ts';

const ENV = { MTLS_CA_KEY_SIZE: '2048', MTLS_MONITORING_HEALTH_CHECK_INTERVAL: '1s' };
const LOCAL = ['--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];

t.test('monitor follows a running manager; its data is on the health listener too', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  const manager = startCli(['manager', '--storage', storage, '-o', 'json', ...LOCAL], { env: ENV });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/"ready": true/);
  t.match(await cli(['generate', '--service', 'orders', '--storage', storage]), { code: 0 });

  const monitor = startCli(['monitor', '--duration', '24', '--interval', '100ms', '--storage', storage]);
  t.teardown(() => monitor.child.kill('SIGKILL'));
  await monitor.saw(/^\S+Z {2}1 certificates, 100\.0 % healthy, 0 expiring, 0 expired, next renewal in .*, 0 alerts$/m);
  writeFileSync(join(storage, 'orders', 'cert.pem'), 'damaged');
  await monitor.saw(/ 0\.0 % healthy, .* 1 alerts\n.* error: the files of orders cannot be served: .*\n {4}fix: /);
  monitor.child.kill('SIGTERM');
  await monitor.ended;

  const { health } = JSON.parse(manager.stdout()) as { health: { address: string; port: number } };
  const answer = await fetch(`http://${health.address}:${health.port}/v1/dashboard`);
  t.match(await answer.json(), {
    metrics: { total_certificates: 1 },
    health: { summary: { health_percentage: 0 } },
    alerts: { active: [{ rule: 'CertificateUnusable', service_name: 'orders' }] },
  });
});

t.test('without a manager it looks by itself, one document a line, until its time is over', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  t.match(await cli(['generate', '--service', 'orders', '--storage', storage], { env: ENV }), { code: 0 });
  const run = await cli(['monitor', '--duration', '300ms', '--interval', '100ms', '-o', 'json', '--storage', storage]);
  t.match(run, { code: 0, stderr: '' });
  const documents = run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  t.match(documents.at(-1), { metrics: { total_certificates: 1 }, health: { summary: { health_percentage: 100 } } });
  t.match(await cli(['monitor', '--duration', '0', '--storage', storage]), { code: 2, stderr: /more than nothing/ });
});
