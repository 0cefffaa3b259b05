import { join } from 'node:path';
import t from 'tap';
import { shortDirectory, startCli } from '../support/cli.ts';

const HOOK = join(import.meta.dirname, '../support/loaded-child.ts');
/** What only a manager needs, and what is large and only needed to ask for a certificate. */
const UNWANTED = ['fastify', 'node-forge', 'undici', '@kubernetes', 'nodemailer'];

t.test('a sidecar that serves loads nothing of the manager and none of the large packages', async (t) => {
  const sidecar = startCli(
    ['sidecar', '--identity', shortDirectory(t), '--inbound', '127.0.0.1:0:127.0.0.1:1', '--allow', 'web'],
    { node: ['--import', HOOK] },
  );
  await sidecar.saw(/"event":"listening"/);
  sidecar.child.kill('SIGTERM');
  const { stdout, code } = await sidecar.ended;
  const loaded = [...stdout.matchAll(/^loaded file:\/\/.*?\/(src\/.*|node_modules\/.*)$/gm)].map((m) => m[1] ?? '');

  t.equal(code, 0);
  t.ok(loaded.includes('src/sidecar/relay.ts'), 'the hook sees what is loaded');
  t.strictSame(
    loaded.filter((path) => /^src\/(manager|api\/server)/.test(path) || path === 'src/pki/issue.ts'),
    [],
    'nothing of the manager',
  );
  t.strictSame(
    UNWANTED.filter((name) => loaded.some((path) => path.includes(`node_modules/${name}/`))),
    [],
    'none of the packages',
  );
});
