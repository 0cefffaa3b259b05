import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { readGeneration, writeGeneration } from '../../src/store/generation.ts';

const CHILD = join(import.meta.dirname, '../support/store/write-child.ts');
const NAMES = ['cert.pem', 'key.pem', 'ca.pem'] as const;
const KILLS = 300;
/** On a machine too busy for all of them in this time, ms, fewer are made; the count is printed. */
const TIME = 35_000;

/** Three hundred processes are started: with their code compiled once, and without tap's own loaders in them. */
const COMPILED = t.testdir();
const COMMAND = ['-u', 'NODE_OPTIONS', `NODE_COMPILE_CACHE=${COMPILED}`, process.execPath, CHILD];
spawnSync('env', COMMAND, { input: '' });

class Writer {
  readonly #child: ChildProcessWithoutNullStreams = spawn('env', COMMAND);
  readonly #ready = once(this.#child.stdout, 'data');
  #said = '';

  /** Lets it write into `directory` and kills it after `ms`. Returns the number of the last write that it saw succeed. */
  async runAndKill(directory: string, first: number, ms: number): Promise<number | undefined> {
    await this.#ready;
    this.#child.stdout.on('data', (data: Buffer) => {
      this.#said += data.toString();
    });
    this.#child.stdin.write(`${directory} ${first}\n`);
    await delay(ms);
    await this.kill();
    const last = this.#said.trim().split('\n').at(-1);
    return last === undefined || last === '' ? undefined : Number(last);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }
}

function trio(mark: number) {
  return {
    'cert.pem': { data: `cert ${mark}`, mode: 0o644 },
    'key.pem': { data: `key ${mark}`, mode: 0o600 },
    'ca.pem': { data: `ca ${mark}`, mode: 0o644 },
  };
}

/** The one mark that all three files carry, undefined when there is none of them, NaN for a mixture. */
async function markOf(directory: string): Promise<number | undefined> {
  const files = await readGeneration(directory, NAMES);
  const marks = new Set(NAMES.map((name) => files.get(name)?.data.toString().split(' ')[1]));
  const [mark] = marks;
  if (marks.size !== 1) return Number.NaN;
  return mark === undefined ? undefined : Number(mark);
}

const leftoversIn = async (directory: string) => (await readdir(directory)).filter((name) => name.startsWith('..'));

t.test('a writer killed at any moment leaves the old three files or the new three', async (t) => {
  const root = t.testdir();
  const kept = join(root, 'kept');
  await writeGeneration(kept, trio(0));
  const end = performance.now() + TIME;
  const spare = [new Writer(), new Writer()];
  const wrong: string[] = [];
  const untidy: string[] = [];
  let next = 1;
  let kills = 0;
  let interrupted = 0;

  while (kills < KILLS && performance.now() < end) {
    // In turn: the same directory again, one that does not exist, and one with plain files.
    const start = (['kept', 'fresh', 'plain'] as const)[kills % 3] ?? 'kept';
    const directory = start === 'kept' ? kept : join(root, `${start}-${kills}`);
    if (start === 'plain') {
      await mkdir(directory);
      for (const name of NAMES) await writeFile(join(directory, name), `plain ${next - 1}`);
    }
    const before = start === 'fresh' ? undefined : await markOf(directory);
    const writer = spare.shift() ?? new Writer();
    spare.push(new Writer());
    const seen = await writer.runAndKill(directory, next, Math.random() * (start === 'kept' ? 40 : 15));
    kills++;

    const allowed = seen === undefined ? [before, next] : [seen, seen + 1];
    const found = await markOf(directory).catch((error: unknown) => String(error));
    if (typeof found === 'string' || !allowed.includes(found)) {
      wrong.push(`${start} ${kills}: found ${found}, allowed ${allowed}`);
    }
    next = (seen ?? next) + 2;

    const left = start === 'fresh' && found === undefined ? [] : await leftoversIn(directory);
    if (left.length > 2) interrupted++;
    await writeGeneration(directory, trio(next));
    if ((await markOf(directory)) !== next) wrong.push(`${start} ${kills}: the next write did not succeed`);
    if ((await leftoversIn(directory)).length !== 2) untidy.push(`${start} ${kills}: ${left}`);
    next++;
  }
  await Promise.all(spare.map((writer) => writer.kill()));

  t.comment(`${kills} kills, ${interrupted} of them in the middle of a write, ${next} generations`);
  t.strictSame(wrong, [], 'no mixture, nothing lost that was reported as written');
  t.strictSame(untidy, [], 'what a killed writer left is gone after the next write');
  t.ok(interrupted > kills / 10, 'the kills met writes half done');
  t.ok(kills >= 50, 'enough kills in the time');
});
