import promises, { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import * as changes from '../../../src/store/changes.ts';
import {
  appendDurable,
  createExclusive,
  readRegularFile,
  removeDurable,
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

/** The writers of files, with each sync of a directory noted; `fail` may throw in its place. */
async function syncing(t: Pick<Test, 'mockImport'>, fail: () => void = () => {}) {
  const synced: string[] = [];
  const opening = async (...args: Parameters<typeof promises.open>) => {
    const handle = await promises.open(...args);
    const sync = handle.sync.bind(handle);
    handle.sync = async () => {
      synced.push(String(args[0]));
      fail();
      await sync();
    };
    return handle;
  };
  const node = { 'node:fs/promises': { ...promises, open: opening } };
  const files = await t.mockImport<typeof import('../../../src/store/files.ts')>('../../../src/store/files.ts', {
    ...node,
    '../../../src/store/changes.ts': changes,
  });
  return { files, synced };
}

t.test('a record that was refused is taken back, also when only its directory could not be synced', async (t) => {
  const directory = t.testdir();
  const { files } = await syncing(t, () => {
    throw Object.assign(new Error('i/o'), { code: 'EIO' });
  });
  const path = join(directory, 'audit.log');
  await t.rejects(files.appendDurable(path, 'one\n', 0o600), { code: 'SL-FS-003', data: { reason: 'EIO' } });
  t.equal(await readFile(path, 'utf8'), '');
});

t.test('what was removed before one that cannot be stays away', async (t) => {
  const directory = t.testdir({ one: '1', two: '2' });
  const { files, synced } = await syncing(t);
  const all = ['one', `two${'x'.repeat(300)}`, 'two'].map((name) => join(directory, name));
  await t.rejects(files.removeDurable(all), { code: 'SL-FS-003', data: { path: all[1] } });
  t.strictSame(synced, [directory]);
  t.strictSame(await readdir(directory), ['two']);
});

t.test('what was removed stays away: its directory is synced, once for all that were in it', async (t) => {
  const directory = t.testdir({ 'root.key': 'k', tokens: { a: '', b: '', c: '' } });
  const { files, synced } = await syncing(t);
  await files.removeDurable(join(directory, 'root.key'));
  t.strictSame(synced, [directory]);
  await files.removeDurable(join(directory, 'never', 'there'));
  const tokens = join(directory, 'tokens');
  await files.removeDurable(['a', 'b', 'c', 'd'].map((name) => join(tokens, name)));
  t.strictSame(synced.slice(1), [tokens]);
  t.strictSame(await readdir(directory, { recursive: true }), ['tokens']);
});

t.test(
  'what is gone is told also when it may come back after a crash, or when the next cannot be removed',
  async (t) => {
    const directory = t.testdir({ one: '1', two: '2', closed: { three: '3' }, four: '4' });
    const told: string[] = [];
    const watching = changes.observeChanges(directory, ({ kind, path }) => told.push(`${kind} ${path}`));
    t.teardown(() => watching[Symbol.dispose]());
    const { files } = await syncing(t, () => {
      throw Object.assign(new Error('i/o'), { code: 'EIO' });
    });
    const all = ['one', 'two', 'closed/three', 'four'].map((name) => join(directory, name));
    await t.rejects(files.removeDurable(all[0] ?? ''), { code: 'SL-FS-003', data: { reason: 'EIO' } });
    t.strictSame(told, ['gone one']);
    await chmod(join(directory, 'closed'), 0o500);
    await chmod(directory, 0o777);
    await asNobody(() =>
      t.rejects(removeDurable(all), { code: 'SL-FS-003', data: { path: all[2], reason: 'EACCES' } }),
    );
    await chmod(join(directory, 'closed'), 0o700);
    t.strictSame(told.slice(1), ['gone one', 'gone two']);
  },
);
