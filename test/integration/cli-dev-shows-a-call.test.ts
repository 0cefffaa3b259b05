import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { shortDirectory, startCli, startProgram } from '../support/cli.ts';
import { requireProgram } from '../support/programs.ts';

/** The ports of config/demo.yaml may be taken on the machine of a test: the system chooses. */
const ANY_PORT = {
  MTLS_SERVICES_0_APP: '0',
  MTLS_SERVICES_0_MTLS: '0',
  MTLS_SERVICES_1_APP: '0',
  MTLS_SERVICES_1_MTLS: '0',
  MTLS_SERVICES_1_CALLS_0_LISTEN: '0',
};

const TRANSCRIPT = `
  ✔ CA ready           AI-Teddy-CA (RSA 4096, until DATE)   TIME
  ✔ orders             app HOST   mTLS HOST   spiffe://ai-teddy.local/ns/default/sa/orders
  ✔ web                app HOST   mTLS HOST   spiffe://ai-teddy.local/ns/default/sa/web

  web ──plaintext──▶ sidecar(web) ══ TLS 1.3, X25519MLKEM768 ══▶ sidecar(orders) ──plaintext──▶ orders
      GET http://HOST/hello → 200 in TIME
      sidecar(web) met     spiffe://ai-teddy.local/ns/default/sa/orders   serial HEX
      sidecar(orders) met  spiffe://ai-teddy.local/ns/default/sa/web   serial HEX
      orders saw           {"service":"orders","method":"GET","path":"/hello","scheme":"http","from":"HOST"}

  Try it    curl http://HOST/hello   works: goes through mTLS
            curl -k https://HOST/hello   refused: no client certificate
            npm run -s sidelock -- show orders --storage TMP/pki   the certificate
  Stop with Ctrl-C (nothing is left behind)
`;

/** What is ours in a temporary directory; npm keeps a cache there. */
function left(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('sidelock'));
}

function masked(text: string): string {
  return text
    .replace(/127\.0\.0\.1:\d+/g, 'HOST')
    .replace(/\d{4}-\d\d-\d\d/g, 'DATE')
    .replace(/\d+\.\ds\b|\d+\.\d ms/g, 'TIME')
    .replace(/\b[0-9a-f]{32}\b/g, 'HEX')
    .replace(/\S+sidelock-dev-\w+/g, 'TMP')
    .replace(/(?<=(?:hello|pki)) {3,}/g, '   ');
}

t.test('npm start: the call, whom each side met, what to try; then nothing is left behind', async (t) => {
  const tmp = join(shortDirectory(t), 'tmp');
  mkdirSync(tmp);
  const npm = startProgram('npm', ['start', '--silent'], { env: { ...ANY_PORT, TMPDIR: tmp }, group: true });
  const pressed = (signal: NodeJS.Signals) => process.kill(-(npm.child.pid ?? 0), signal);
  t.teardown(() => npm.child.exitCode === null && npm.child.signalCode === null && pressed('SIGKILL'));
  await npm.saw(/nothing is left behind/);
  t.equal(masked(`\n${npm.stdout()}`), TRANSCRIPT);
  t.equal(left(tmp).length, 1);

  const [, works = ''] = await npm.saw(/curl (http:\S+)/);
  t.match(await (await fetch(works)).json(), { service: 'orders', scheme: 'http', path: '/hello' });

  await t.test('the second command to try is refused, and the sidecar says why', async (t) => {
    const curl = requireProgram(t, 'curl');
    if (curl === undefined) return;
    const [, refused = ''] = await npm.saw(/curl -k (https:\S+)/);
    await t.rejects(promisify(execFile)(curl, ['-sk', '-m', '5', refused]));
    await npm.saw(/sidecar\(orders\): .*certificate/);
  });

  const [, show = '', storage = ''] = await npm.saw(/(show orders --storage (\S+))/);
  t.ok(existsSync(storage));
  const shown = startProgram('npm', ['run', '-s', 'sidelock', '--', ...show.split(' ')]);
  t.match(await shown.ended, { code: 0, stdout: /spiffe id +spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/orders/ });

  pressed('SIGINT');
  await npm.ended;
  t.strictSame(left(tmp), [], 'the temporary directory is gone');
});

t.test('a port that is taken is told, and another one used', async (t) => {
  const holder = createServer();
  t.teardown(() => holder.close());
  const { port } = await listen(holder, { host: '127.0.0.1', port: 0 }, 'the test');
  const env = { ...ANY_PORT, MTLS_SERVICES_0_APP: `127.0.0.1:${port}` };
  const dev = startCli(['dev', '--config', 'config/demo.yaml', '--once'], { env });
  t.match(await dev.ended, {
    code: 0,
    stdout: /→ 200 in/,
    stderr: new RegExp(`127\\.0\\.0\\.1:${port} for the app of orders is in use.*using another port`),
  });
});

t.test('Ctrl-C while it starts leaves nothing behind either', async (t) => {
  const tmp = join(shortDirectory(t), 'tmp');
  mkdirSync(tmp);
  const dev = startCli(['dev', '--config', 'config/demo.yaml'], {
    env: { ...ANY_PORT, TMPDIR: tmp, MTLS_CA_NAME: undefined },
  });
  await dev.saw(/making the certificate authority|CA ready/);
  dev.child.kill('SIGINT');
  t.match(await dev.ended, { code: 0, stderr: /^(?!.*✖)/s });
  t.strictSame(left(tmp), []);
});

t.test('for machines: one document', async (t) => {
  const dev = startCli(['dev', '--config', 'config/demo.yaml', '--once', '-o', 'json'], { env: ANY_PORT });
  const { code, stdout } = await dev.ended;
  t.equal(code, 0);
  t.match(JSON.parse(stdout), {
    caller: 'web',
    called: 'orders',
    status: 200,
    outbound: { peer: { id: 'spiffe://ai-teddy.local/ns/default/sa/orders' }, tls: { version: 'TLSv1.3' } },
    inbound: { peer: { id: 'spiffe://ai-teddy.local/ns/default/sa/web' } },
  });
});
