import { existsSync } from 'node:fs';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { MAIN, shortDirectory, startProgram } from '../support/cli.ts';
import { DOCUMENTS, root } from '../support/docs.ts';
import { type Block, blocksOf } from '../support/documents.ts';
import { requireProgram } from '../support/programs.ts';
import { freePort } from '../support/servers.ts';

/** The documents whose commands are run, in one directory, one after the other: as somebody who reads them would. */
const STORY = [
  'docs/quickstart/processes.md',
  'docs/how-to/rotation.md',
  'docs/troubleshooting.md',
  'docs/how-to/monitoring.md',
  'docs/how-to/backup.md',
  'docs/quickstart/devices.md',
  'docs/quickstart/library.md',
  'docs/how-to/revoke.md',
];
/** Those they name, and the machine may have in use. */
const PORTS = [8080, 8443, 9101, 9443, 9444, 9901, 9902];

t.test('every command that a document shows is run here, or by another test, or says why not', async (t) => {
  for (const document of DOCUMENTS.filter((path) => path.startsWith('docs/') || path === 'README.md')) {
    for (const block of await blocksOf(document)) {
      if (block.is === 'run') t.ok(STORY.includes(document), `${document} is part of the story: ${block.text}`);
      if (block.is === 'elsewhere' && block.by !== undefined) t.ok(existsSync(join(root, block.by)), block.by);
    }
  }
});

t.test('the documents, from the first command to the last', async (t) => {
  for (const program of ['curl', 'openssl']) if (requireProgram(t, program) === undefined) return;
  const directory = shortDirectory(t);
  const ports = new Map<string, string>();
  for (const port of PORTS) ports.set(String(port), String(await freePort()));
  const moved = (text: string) =>
    text
      .replaceAll(/(?<![\d.])\d{4}\b/g, (port) => ports.get(port) ?? port)
      .replaceAll(/ from 'sidelock(.*)'/g, source);
  await makeProgram(directory, ports);
  for (const document of STORY) {
    await t.test(document, async (t) => {
      for (const block of await blocksOf(document)) await follow(t, block, { directory, moved });
    });
  }
});

interface Place {
  readonly directory: string;
  /** With ports that are free, and the package from source. */
  readonly moved: (text: string) => string;
}

async function follow(t: Test, block: Block, { directory, moved }: Place): Promise<void> {
  if (block.is === 'elsewhere') return;
  const text = moved(block.text);
  if (block.is === 'file') {
    await mkdir(dirname(join(directory, block.name)), { recursive: true });
    await writeFile(join(directory, block.name), text);
    return;
  }
  const started = startProgram('bash', ['--norc', '-euo', 'pipefail', '-c', text], {
    cwd: directory,
    env: { PATH: `${directory}/bin:${process.env['PATH']}` },
    group: true,
  });
  const { child } = started;
  if (block.until !== undefined) {
    // Of the whole story: what it starts is needed by the documents that follow.
    stories.push(() => child.pid !== undefined && child.exitCode === null && process.kill(-child.pid, 'SIGKILL'));
    await started.saw(block.until);
    t.pass(text);
    return;
  }
  const { code, stdout, stderr } = await started.ended;
  if (block.exit === 'any') t.pass(text);
  else t.equal(code, block.exit, `${text}\n${stdout}${stderr}`);
  if (block.prints !== undefined) t.match(stdout, block.prints, text);
}

const stories: Array<() => unknown> = [];
t.teardown(() => {
  for (const stop of stories) stop();
});

/** `sidelock` as an installed program, where its defaults are free: the smallest key of a root, other ports. */
async function makeProgram(directory: string, ports: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(join(directory, 'bin'));
  await symlink(process.execPath, join(directory, 'bin/node'));
  const program = join(directory, 'bin/sidelock');
  await writeFile(
    program,
    `#!/bin/bash
case "$1" in sidecar|run) ;; *) export MTLS_CA_KEY_SIZE=2048 ;; esac
case "$1" in manager) export MTLS_LISTEN=127.0.0.1:${ports.get('9443')} MTLS_HEALTH=127.0.0.1:${ports.get('9444')} ;; esac
exec '${process.execPath}' --disable-sigusr1 '${MAIN}' "$@"
`,
  );
  await chmod(program, 0o755);
}

/** Of an import: the source of what the package exports. */
function source(_: string, entry: string): string {
  return ` from '${join(root, entry === '' ? 'src/index.ts' : `src/library${entry}.ts`)}'`;
}
