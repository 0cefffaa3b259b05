import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createOutput } from '../../src/cli/output.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { getMtlsManager } from '../../src/index.ts';
import { shortDirectory, startProgram } from '../support/cli.ts';

const EXAMPLES = join(import.meta.dirname, '../examples');

const { stdout, stderr } = process;
const QUIET = { json: false, color: 'never', ascii: true, verbose: false, stdout, stderr } as const;

/** Each example of test/examples and what it prints. */
const PRINTS: Readonly<Record<string, RegExp>> = {
  initialize: /^CA Name: AI-Teddy-CA\nStorage Path: \/.*\/pki\n.*DNS:ai-service\.internal, DNS:ai\.local/,
  authority: /DNS:child-service\.internal\ntrue\n$/,
  services: /^Certificate generated for ai-conversation-service\n(.*\n){6}\[[^\]]*'postgres-db',[^\]]*\]\n$/,
  rotation: /^Rotated certificates: ai-conversation-service\n$/,
  communication: /^\{ caller: 'CN=ai-conversation-service' \}\nstranger: (ERR_SSL_\w+|ECONNRESET)\n$/,
  caching: /^same context: true\ncertificate of CN=ai-conversation-service\nafter a rotation: false\n$/,
  monitoring: /^Total certificates: some\nHealth percentage: 100\.0%\n$/,
  client: /^two orders\ntrue 200\nSL-TLS-006\n$/,
  frameworks:
    /^fastify \{ caller: 'web' \}\nsidecar spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/web\nforged nobody\n$/,
  grpc: /^hello web\nbatch: 7 no entry of allow names it\n$/,
  devices: /^(teddy-bear-00\d: certificate, private_key, ca_certificate\n){3}$/,
};

t.test('the code blocks of the guide run, and the examples of the library', async (t) => {
  const directory = shortDirectory(t);
  // Only the size of the CA key differs from what the examples would make themselves.
  const manager = await getMtlsManager({ storagePath: join(directory, 'pki'), ca: { keySize: 2048 } });
  await manager[Symbol.asyncDispose]();
  const files = (await readdir(EXAMPLES)).map((file) => file.replace(/\.ts$/, ''));
  t.strictSame(files.toSorted(), Object.keys(PRINTS).toSorted(), 'each has its line here');
  for (const name of files) {
    const run = startProgram(process.execPath, [join(EXAMPLES, `${name}.ts`)], { cwd: directory });
    const { code, stdout, stderr } = await run.ended;
    t.match(stdout, PRINTS[name] ?? /^$/, name);
    t.equal(code, 0, stderr);
  }
});

t.test('one directory has one manager in a process, until it is disposed of', async (t) => {
  const storagePath = join(shortDirectory(t), 'pki');
  const options = { storagePath, ca: { keySize: 2048 } } as const;
  const [first, second] = await Promise.all([getMtlsManager(options), getMtlsManager({ storagePath })]);
  t.equal(first, second);
  await first[Symbol.asyncDispose]();
  await using again = await getMtlsManager({ storagePath });
  t.not(again, first);
  t.equal(again.ca.rootSha256, first.ca.rootSha256);
});

t.test('the README names every example, and its table commands that there are', async (t) => {
  const readme = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8');
  const [, table = ''] = /^## The guide, line by line$(.*?)^## /ms.exec(readme) ?? [];
  const named = [...readme.matchAll(/\(test\/examples\/(\w+)\.ts\)/g)].map(([, name]) => name);
  t.strictSame(named.toSorted(), Object.keys(PRINTS).toSorted());
  const program = buildProgram({ output: createOutput(QUIET), env: {}, exitCode: 0 });
  const known = program.commands.map((command) => command.name());
  const used = [...table.matchAll(/`sidelock ([a-z-]+)/g)].map(([, name]) => name ?? '');
  t.ok(used.length > 10);
  t.strictSame(
    used.filter((name) => !known.includes(name)),
    [],
  );
});
