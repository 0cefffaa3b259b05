import { join } from 'node:path';
import t from 'tap';
import { shortDirectory, startCli } from '../support/cli.ts';

/** Reports, at the end of the process, every package that any module of it was loaded from. */
const REPORTER = `data:text/javascript,${encodeURIComponent(`
import { registerHooks } from 'node:module';
const seen = new Set();
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(resolved.url)?.[1];
    if (name !== undefined) seen.add(name);
    return resolved;
  },
});
process.on('exit', () => console.log('LOADED', [...seen].sort().join(' ')));
`)}`;

/** What a sidecar that serves from files runs on. A new one is a decision, not an accident. */
const ALLOWED = [
  ...['chokidar', 'readdirp'],
  ...['commander', 'yaml', 'zod'],
  ...['@pinojs/redact', 'atomic-sleep', 'on-exit-leak-free', 'pino', 'pino-std-serializers', 'quick-format-unescaped'],
  ...['safe-stable-stringify', 'sonic-boom', 'thread-stream'],
  ...['@opentelemetry/api', 'bintrees', 'prom-client', 'tdigest'],
];

t.test('a sidecar loads no CA, no API server and no certificate builder', async (t) => {
  const directory = join(shortDirectory(t), 'identity');
  const args = ['sidecar', '--identity', directory, '--inbound', '127.0.0.1:0:127.0.0.1:1', '--allow', 'web'];
  const sidecar = startCli(args, { node: ['--import', REPORTER] });
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  await sidecar.saw(/"event":"listening"/);
  sidecar.child.kill('SIGTERM');
  const { stdout } = await sidecar.ended;
  const [, loaded = ''] = /^LOADED (.*)$/m.exec(stdout) ?? [];
  t.match(loaded, /\bpino\b/, 'the reporter works');
  t.strictSame(
    loaded.split(' ').filter((name) => !ALLOWED.includes(name)),
    [],
  );
});
