import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ERROR_PAGES } from '../../src/base/errors.ts';
import { cli, startCli } from '../support/cli.ts';

const BROKEN =
  'kind: Sidecar\nidentity: { source: manager }\ninbound:\n  - { listen: 8443, target: 8080, alow: [web] }\n';

t.test('help shows usage, three examples, then flags in groups', async (t) => {
  const { code, stdout } = await cli(['run', '--help']);
  t.equal(code, 0);
  const order = ['usage: sidelock run', 'Examples', 'Who this is', 'What goes where', 'Running', 'Output'].map((text) =>
    stdout.indexOf(text),
  );
  t.ok(order.every((at) => at >= 0));
  t.strictSame(
    order,
    order.toSorted((a, b) => a - b),
  );
  t.equal(stdout.match(/^ {2}sidelock run /gm)?.length, 3);
});

t.test('a misspelt command or flag is answered with the nearest, and exit code 2', async (t) => {
  t.match(await cli(['mangaer']), {
    code: 2,
    stderr: /✖ unknown command 'mangaer'\n {2}fix {2}did you mean manager\?\n {2}code SL-USAGE-001/,
  });
  t.match(await cli(['token', 'crate']), { code: 2, stderr: /did you mean create/ });
  t.match(await cli(['list', '--storge', 'x']), { code: 2, stderr: /did you mean --storage/ });
  t.match(await cli(['token']), { code: 2, stderr: /usage: sidelock token/, stdout: '' });
});

t.test('errors as JSON on standard error, exit code unchanged', async (t) => {
  const { code, stdout, stderr } = await cli(['explain', 'SL-NOPE-001', '--format', 'json']);
  t.equal(code, 2);
  t.equal(stdout, '');
  t.match(JSON.parse(stderr), {
    error: { code: 'SL-USAGE-001', message: /SL-NOPE-001/, fix: String, docs: /^sidelock explain/ },
  });
});

t.test('explain knows every code', async (t) => {
  const { stdout } = await cli(['explain', '-o', 'json']);
  const { items } = JSON.parse(stdout) as { items: Array<{ code: string }> };
  t.strictSame(
    items.map(({ code }) => code),
    Object.keys(ERROR_PAGES),
  );
  t.match(await cli(['explain', 'net-001']), {
    code: 0,
    stdout: /^SL-NET-001 {2}port in use\n\n {2}why {2}.*\n {2}fix {2}/,
  });
});

t.test('colour only where asked for, ASCII where the locale has no UTF-8', async (t) => {
  const file = join(t.testdir({ 'm.yaml': 'kind: Manager\n' }), 'm.yaml');
  const validate = (env: Record<string, string>, ...flags: string[]) =>
    cli(['config', 'validate', file, ...flags], { env });
  t.match((await validate({})).stdout, /^✔ .*a valid Manager\n$/);
  t.match((await validate({ LANG: 'C' })).stdout, /^\[ok\] /);
  t.match((await validate({}, '--ascii')).stdout, /^\[ok\] /);
  t.ok((await validate({ FORCE_COLOR: '1' })).stdout.startsWith('\u001b['));
  t.ok((await validate({}, '--color', 'always')).stdout.startsWith('\u001b['));
  t.notOk((await validate({ NO_COLOR: '1' })).stdout.includes('\u001b'));
  t.notOk((await validate({ FORCE_COLOR: '1' }, '--color', 'never')).stdout.includes('\u001b'));
});

t.test('config validate: every problem of every file, exit code 2', async (t) => {
  const directory = t.testdir({
    'a.yaml': BROKEN,
    'b.yaml': 'kind: Manager\nca: { nam: x }\n',
    'c.yaml': 'kind: Manager\n',
  });
  const files = ['a.yaml', 'b.yaml', 'c.yaml'];
  const { code, stdout, stderr } = await cli(['config', 'validate', ...files], { cwd: directory });
  t.equal(code, 2);
  t.equal(stdout, '');
  t.match(stderr, /^✖ a\.yaml:4:5 inbound\[0\]\.allow: is missing$/m);
  t.match(stderr, /^✖ a\.yaml:4:35 inbound\[0\]\.alow: unknown key\n {2}fix {2}did you mean "allow"\?/m);
  t.match(stderr, /^✖ b\.yaml:2:7 ca\.nam: unknown key/m);
  t.match(stderr, /^3 problems$/m);
  t.match(await cli(['config', 'validate', 'gone.yaml'], { cwd: directory }), { code: 2, stderr: /SL-CFG-001/ });
  t.match(await cli(['config', 'validate', '-'], { stdin: 'kind: Manager' }), {
    code: 0,
    stdout: /stdin|-: a valid Manager/,
  });
});

t.test('config print shows where each value came from, config schema is JSON', async (t) => {
  const args = ['config', 'print', '--origin', '-'];
  const { stdout } = await cli(args, { stdin: 'kind: Manager\n', env: { MTLS_CA_NAME: 'Test' } });
  t.match(stdout, /^ca\.name: Test +# env MTLS_CA_NAME$/m);
  t.match(stdout, /^kind: Manager +# stdin:1:1$/m);
  t.match(JSON.parse((await cli(['config', 'schema', 'Sidecar'])).stdout), { title: 'Sidecar', type: 'object' });
});

t.test('unsafe surroundings are refused by name, except where nothing is started', async (t) => {
  const storage = join(t.testdir({}), 'pki');
  const unsafe = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };
  t.match(await cli(['list', '--storage', storage], { env: unsafe }), {
    code: 2,
    stderr: /✖ will not start with NODE_TLS_REJECT_UNAUTHORIZED=0 set/,
  });
  t.match(await cli(['manager', '--storage', storage], { env: { NODE_EXTRA_CA_CERTS: '/dev/null' } }), {
    code: 2,
    stderr: /NODE_EXTRA_CA_CERTS/,
  });
  t.match(await cli(['list'], { node: ['--insecure-http-parser'] }), {
    code: 2,
    stderr: /--insecure-http-parser in the command line of node/,
  });
  t.match(await cli(['list'], { env: { NODE_OPTIONS: '--inspect=0' } }), {
    code: 2,
    stderr: /--inspect=0 in NODE_OPTIONS/,
  });
  t.match(await cli(['explain', 'SL-ENV-001'], { env: unsafe }), { code: 0 });
});

t.test('a reader that leaves early is no error', async (t) => {
  const { child, ended, stderr } = startCli(['explain']);
  child.stdout?.destroy();
  await ended;
  t.notMatch(stderr(), /EPIPE/);
});

t.test('a sidecar that nothing was said about says what is missing', async (t) => {
  const cwd = t.testdir({});
  mkdirSync(join(cwd, 'x'));
  writeFileSync(join(cwd, 'side.yaml'), BROKEN);
  t.match(await cli(['sidecar'], { cwd }), { code: 2, stderr: /✖ there is nothing for the sidecar to do/ });
  t.match(await cli(['sidecar', '--inbound', '8443:8080'], { cwd }), {
    code: 2,
    stderr: /✖ --inbound inbound\[0\]\.allow: is missing.*SL-CFG-005/s,
  });
  t.match(await cli(['sidecar', '--inbound', '8443:8080', '--allow', 'web'], { cwd }), {
    code: 2,
    stderr: /✖ service is missing/,
  });
  t.match(await cli(['sidecar', '--inbound', '8443', '--allow', 'web'], { cwd }), {
    code: 2,
    stderr: /--inbound 8443 is not LISTEN:TARGET/,
  });
  t.match(await cli(['sidecar', '--config', 'side.yaml'], { cwd }), { code: 2, stderr: /side\.yaml:4:35/ });
});
