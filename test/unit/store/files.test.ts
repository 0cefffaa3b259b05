import promises, { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  appendDurable,
  createExclusive,
  readRegularFile,
  removeTemporaries,
  writeFileDurable,
} from '../../../src/store/files.ts';
import { asNobody } from '../../support/unprivileged.ts';

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

t.test('modes are exact under any umask, and also when an older file was wider', async (t) => {
  const before = process.umask();
  t.teardown(() => process.umask(before));
  for (const umask of [0o000, 0o077, 0o022]) {
    const dir = t.testdir();
    process.umask(umask);
    await writeFile(join(dir, 'old'), 'old', { mode: 0o666 });
    await chmod(join(dir, 'old'), 0o666);
    await writeFileDurable(join(dir, 'old'), 'new', 0o600);
    await writeFileDurable(join(dir, 'key'), 'k', 0o600);
    await writeFileDurable(join(dir, 'cert'), 'c', 0o644);
    t.equal(await createExclusive(join(dir, 'once'), 'x', 0o600), true);
    t.strictSame(
      await Promise.all(['old', 'key', 'cert', 'once'].map((name) => modeOf(join(dir, name)))),
      [0o600, 0o600, 0o644, 0o600],
      `umask ${umask.toString(8)}`,
    );
    t.equal(await readFile(join(dir, 'old'), 'utf8'), 'new');
  }
});

t.test('a durable write replaces a link, never what it leads to', async (t) => {
  const dir = t.testdir({ victim: 'untouched' });
  await symlink('victim', join(dir, 'file'));
  await writeFileDurable(join(dir, 'file'), 'new', 0o600);
  t.equal(await readFile(join(dir, 'victim'), 'utf8'), 'untouched');
  t.equal(await readFile(join(dir, 'file'), 'utf8'), 'new');
});

t.test('of twenty that create the same file one wins, and its content is whole', async (t) => {
  const dir = t.testdir();
  const path = join(dir, 'used');
  const won = await Promise.all(Array.from({ length: 20 }, (_, i) => createExclusive(path, `winner ${i}`, 0o600)));
  t.equal(won.filter(Boolean).length, 1);
  t.equal(await readFile(path, 'utf8'), `winner ${won.indexOf(true)}`);
  t.strictSame(await readdir(dir), ['used'], 'no temporary file stays');
});

t.test('createExclusive does not follow a dangling link', async (t) => {
  const dir = t.testdir();
  await symlink('elsewhere', join(dir, 'file'));
  t.equal(await createExclusive(join(dir, 'file'), 'x', 0o600), false);
  t.strictSame(await readdir(dir), ['file']);
});

t.test('appendDurable adds whole records and refuses a link', async (t) => {
  const dir = t.testdir({ victim: '' });
  const path = join(dir, 'audit.log');
  await appendDurable(path, 'one\n', 0o600);
  await appendDurable(path, 'two\n', 0o600);
  t.equal(await readFile(path, 'utf8'), 'one\ntwo\n');
  t.equal(await modeOf(path), 0o600);
  await symlink('victim', join(dir, 'link'));
  await t.rejects(appendDurable(join(dir, 'link'), 'x', 0o600), { code: 'SL-FS-003', data: { reason: 'ELOOP' } });
});

t.test('a directory that cannot be written is named with its owner, mode and our uid', async (t) => {
  const dir = t.testdir({ file: 'old' });
  await chmod(dir, 0o555);
  await asNobody(async () => {
    await t.rejects(writeFileDurable(join(dir, 'file'), 'new', 0o600), {
      code: 'SL-FS-003',
      message: /cannot write .*file: permission denied \(EACCES\)/,
      why: /has owner \d+:\d+ mode 0\d{3}, we run as uid \d+/,
    });
  });
  t.equal(await readFile(join(dir, 'file'), 'utf8'), 'old');
  await chmod(dir, 0o755);
});

t.test('only regular files of a sane size are read', async (t) => {
  const dir = t.testdir({ big: Buffer.alloc((1 << 20) + 1), target: '' });
  await symlink('target', join(dir, 'link'));
  await t.rejects(readRegularFile(dir), { code: 'SL-FS-001', why: 'It is not a regular file.' });
  await t.rejects(readRegularFile('/dev/zero'), { code: 'SL-FS-001', why: 'It is not a regular file.' });
  await t.rejects(readRegularFile(join(dir, 'big')), { code: 'SL-FS-001', why: /1048577 bytes/ });
  await t.rejects(readRegularFile(join(dir, 'link')), { code: 'ELOOP' });
});

t.test('temporaries of killed writers are removed at any depth, nothing else is', async (t) => {
  const dir = t.testdir({
    '.root.key.0123456789abcdef.tmp': 'half',
    'mine.tmp': 'kept',
    tokens: { '.a.json.0123456789abcdef.tmp': 'half', 'a.json': 'kept' },
  });
  await removeTemporaries(dir);
  t.strictSame((await readdir(dir, { recursive: true })).sort(), ['mine.tmp', 'tokens', 'tokens/a.json']);
});

t.test('what was removed stays away: its directory is synced', async (t) => {
  const directory = t.testdir();
  const events: string[] = [];
  const syncing = async (...args: Parameters<typeof promises.open>) => {
    const handle = await promises.open(...args);
    const sync = handle.sync.bind(handle);
    handle.sync = async () => {
      events.push(`sync ${args[0]}`);
      await sync();
    };
    return handle;
  };
  const node = { 'node:fs/promises': { ...promises, open: syncing } };
  const files = await t.mockImport<typeof import('../../../src/store/files.ts')>('../../../src/store/files.ts', node);
  const key = join(directory, 'root.key');
  await writeFile(key, 'k');
  await files.removeDurable(key);
  t.strictSame(events, [`sync ${directory}`]);
  await files.removeDurable(join(directory, 'never', 'there'));
  t.strictSame(await readdir(directory), []);
});
