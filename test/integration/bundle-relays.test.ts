import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { shortDirectory, startProgram } from '../support/cli.ts';
import { overwrite, spiffeIdOf, testAuthority } from '../support/identity-files.ts';
import { echo, readAll, startApp } from '../support/mesh.ts';

const ROOT = join(import.meta.dirname, '../..');
const HOOK = join(import.meta.dirname, '../support/loaded-child.ts');
/** A text of each package that a sidecar with files must not load; minifying keeps it. */
const HEAVY = { fastify: 'FST_ERR_', undici: 'UND_ERR_', 'node-forge': 'Too few bytes to parse DER' };

t.test('the bundle of the image', async (t) => {
  const directory = shortDirectory(t);
  const bundle = join(directory, 'bundle');
  await promisify(execFile)(process.execPath, [join(ROOT, 'docker/bundle.ts'), bundle], { cwd: ROOT });
  const main = join(bundle, 'main.js');

  t.test('says its version', async (t) => {
    const { stdout, code } = await startProgram(process.execPath, [main, '--version']).ended;
    t.equal(code, 0);
    t.equal(stdout.trim(), JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')).version);
  });

  t.test('relays between two sidecars, with none of the large packages loaded', async (t) => {
    const body = randomBytes(100_000);
    const appPort = await startApp(t, echo);
    const authority = testAuthority();
    const sidecar = async (service: string, args: readonly string[]) => {
      const identity = shortDirectory(t);
      await overwrite(identity, authority.issue(service));
      const started = startProgram(process.execPath, [
        ...['--import', HOOK, main, 'sidecar', '--identity', identity],
        ...args,
      ]);
      t.teardown(() => started.child.kill('SIGKILL'));
      const [, port = ''] = await started.saw(/^(?:\S+:)(\d+) (?:\(mTLS|→)/m);
      return { ...started, port };
    };
    const orders = await sidecar('orders', [
      '--inbound',
      `127.0.0.1:0:127.0.0.1:${appPort}`,
      '--allow',
      spiffeIdOf('web'),
      ...['--workers', '2'],
    ]);
    const web = await sidecar('web', ['--upstream', `127.0.0.1:0=orders@127.0.0.1:${orders.port}`]);

    const socket = connect({ host: '127.0.0.1', port: Number(web.port), allowHalfOpen: true });
    socket.end(body);
    const answer = await readAll(socket);
    t.ok(answer.equals(body), 'the bytes are right');

    const texts = new Map(
      await Promise.all(
        (await readdir(bundle)).map(async (name) => [name, await readFile(join(bundle, name), 'utf8')] as const),
      ),
    );
    for (const { child, ended } of [web, orders]) {
      child.kill('SIGTERM');
      const { stdout } = await ended;
      const loaded = [...stdout.matchAll(/^loaded file:\/\/.*\/bundle\/(.*)$/gm)].map((m) => m[1] ?? '');
      t.ok(loaded.includes('main.js'), 'the hook sees what is loaded');
      t.match(stdout, /^loaded internal _http_server$/m);
      t.notMatch(stdout, /^loaded internal .*(?:undici|webcrypto|webstreams).*$/m, 'nothing heavy of Node itself');
      for (const [name, text] of Object.entries(HEAVY)) {
        const holders = [...texts].filter(([, content]) => content.includes(text)).map(([file]) => file);
        t.not(holders.length, 0, `${name} is in the bundle`);
        t.strictSame(
          holders.filter((file) => loaded.includes(file)),
          [],
          `${name} is not loaded`,
        );
      }
    }
  });
});
