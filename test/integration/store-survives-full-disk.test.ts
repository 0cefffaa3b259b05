import { spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readdir, readFile, rm, rmdir, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock as clock } from '../../src/base/clock.ts';
import { nodeCode } from '../../src/base/errors.ts';
import { openFileStore } from '../../src/store/file-store.ts';
import { appendDurable, createExclusive, writeFileDurable } from '../../src/store/files.ts';
import { readGeneration, writeGeneration } from '../../src/store/generation.ts';
import { recordingLogger } from '../support/store/log-lines.ts';
import { trio } from '../support/store/trio.ts';

const PAGE = 4_096;
const LIMITED = join(import.meta.dirname, '../support/store/limited-child.ts');

/** A disk of 64 KiB at a new directory, or undefined where this user may not mount one. */
async function smallDisk(t: Test): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'sl-disk-'));
  t.teardown(() => rmdir(directory));
  const options = ['-t', 'tmpfs', '-o', 'size=64k,mode=0755', 'sidelock-test', directory];
  if (spawnSync('mount', options).status !== 0) return undefined;
  t.teardown(() => spawnSync('umount', [directory]));
  return directory;
}

/** Fills the disk but for `pages`. */
async function fill(disk: string, pages: number): Promise<void> {
  const path = join(disk, 'filler');
  let size = 0;
  try {
    for (;;) {
      await appendFile(path, Buffer.alloc(PAGE));
      size += PAGE;
    }
  } catch (error) {
    if (nodeCode(error) !== 'ENOSPC') throw error;
  }
  await truncate(path, size - pages * PAGE);
}

const leftoversIn = async (dir: string) =>
  (await readdir(dir, { recursive: true })).filter((name) => /\.tmp$|data_tmp/.test(name));

t.test('a full disk (tmpfs of 64 KiB): the old three stay, nothing else does', async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) {
    t.comment('NOT TESTED: no right to mount a tmpfs here; the test below limits the file size instead');
    return;
  }
  const { log } = recordingLogger();
  const path = join(disk, 'storage');
  const store = await openFileStore({ path, clock, log, repairModes: true });
  const old = trio();
  await store.save('orders', old);
  const before = (await readdir(path, { recursive: true })).sort();

  for (const pages of [0, 1, 2]) {
    await fill(disk, pages);
    await t.rejects(
      store.save('orders', trio()),
      {
        code: 'SL-FS-003',
        message: /cannot write .*orders: no space left on the disk \(ENOSPC\)/,
        why: /^\d+ bytes and \d+ inodes are free/,
        data: { reason: 'ENOSPC' },
      },
      `with ${pages} pages left`,
    );
    t.strictSame((await store.load('orders'))?.privateKey, old.privateKey);
    t.strictSame((await store.load('orders'))?.certificate, old.certificate);
    t.strictSame((await readdir(path, { recursive: true })).sort(), before, 'no temporary file stays');
    await rm(join(disk, 'filler'));
  }

  await fill(disk, 0);
  const state = join(path, 'state');
  await t.rejects(writeFileDurable(state, 'x', 0o600), { code: 'SL-FS-003' });
  await t.rejects(createExclusive(state, 'x', 0o600), { code: 'SL-FS-003' });
  await rm(join(disk, 'filler'));
  await appendDurable(join(path, 'audit.log'), 'first\n', 0o600);
  await fill(disk, 0);
  await t.rejects(appendDurable(join(path, 'audit.log'), `${'x'.repeat(2 * PAGE)}\n`, 0o600), { code: 'SL-FS-003' });
  t.equal(await readFile(join(path, 'audit.log'), 'utf8'), 'first\n', 'no half line');
  t.strictSame(await leftoversIn(path), []);

  await rm(join(disk, 'filler'));
  const next = trio();
  await store.save('orders', next);
  t.strictSame((await store.load('orders'))?.privateKey, next.privateKey, 'with room again it goes on');
});

t.test('a write that ends half way (limit on file size, any user): the same', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, { 'cert.pem': { data: 'old', mode: 0o644 }, 'key.pem': { data: 'old', mode: 0o600 } });
  await writeFile(join(dir, 'audit.log'), 'first\n');
  const before = (await readdir(dir, { recursive: true })).sort();
  // 16 blocks: 8 or 16 KiB, by the shell. Without the loaders of tap, which write files too.
  const { stdout } = spawnSync(
    'sh',
    ['-c', 'ulimit -f 16; exec env -u NODE_OPTIONS "$0" "$@"', process.execPath, LIMITED, dir],
    {
      encoding: 'utf8',
    },
  );
  t.strictSame(JSON.parse(stdout), Array(4).fill({ code: 'SL-FS-003', reason: 'EFBIG' }));
  t.strictSame((await readdir(dir, { recursive: true })).sort(), before);
  t.equal(await readFile(join(dir, 'audit.log'), 'utf8'), 'first\n');
  const files = await readGeneration(dir, ['cert.pem', 'key.pem']);
  t.strictSame(
    [...files.values()].map(({ data }) => data.toString()),
    ['old', 'old'],
  );
});
