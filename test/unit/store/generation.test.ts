import { execFileSync } from 'node:child_process';
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type NewFile, readGeneration, writeGeneration } from '../../../src/store/generation.ts';
import { asNobody } from '../../support/unprivileged.ts';

const NAMES = ['cert.pem', 'key.pem', 'ca.pem'];

function trio(mark: string): Record<string, NewFile> {
  return {
    'cert.pem': { data: `cert ${mark}`, mode: 0o644 },
    'key.pem': { data: `key ${mark}`, mode: 0o600 },
    'ca.pem': { data: `ca ${mark}`, mode: 0o644 },
  };
}

async function contents(directory: string): Promise<string[]> {
  const files = await readGeneration(directory, NAMES);
  return NAMES.map((name) => files.get(name)?.data.toString() ?? 'missing');
}

const generations = async (directory: string) => (await readdir(directory)).filter((name) => /^\.\.\d/.test(name));

t.test('a write makes the directory and shows plain names that lead through ..data', async (t) => {
  const dir = join(t.testdir(), 'orders');
  await writeGeneration(dir, trio('1'));
  t.equal(await readFile(join(dir, 'cert.pem'), 'utf8'), 'cert 1');
  t.equal(await readlink(join(dir, 'key.pem')), '..data/key.pem');
  t.equal((await stat(dir)).mode & 0o777, 0o700);
  const files = await readGeneration(dir, NAMES);
  t.match(files.get('key.pem'), { mode: 0o600, uid: process.geteuid?.() });
  t.match(files.get('cert.pem'), { mode: 0o644 });
});

t.test('a second write switches all three and removes the first', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, trio('1'));
  const first = await readlink(join(dir, '..data'));
  await writeGeneration(dir, trio('2'));
  t.strictSame(await contents(dir), ['cert 2', 'key 2', 'ca 2']);
  t.not(await readlink(join(dir, '..data')), first);
  t.equal((await generations(dir)).length, 1);
});

t.test('modes are 0600, 0644 and 0700 under umask 000 and 077', async (t) => {
  const before = process.umask();
  t.teardown(() => process.umask(before));
  for (const umask of [0o000, 0o077]) {
    const dir = join(t.testdir(), 'orders');
    process.umask(umask);
    await writeGeneration(dir, trio('1'));
    const modes = await Promise.all(
      ['', '..data', 'key.pem', 'cert.pem', 'ca.pem'].map(async (n) => (await stat(join(dir, n))).mode & 0o777),
    );
    t.strictSame(modes, [0o700, 0o700, 0o600, 0o644, 0o644], `umask ${umask.toString(8)}`);
  }
});

t.test('a reader beside a busy writer never sees a mixture', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, trio('0'));
  let writing = true;
  const writer = (async () => {
    for (let i = 1; i <= 150; i++) await writeGeneration(dir, trio(String(i)));
    writing = false;
  })();
  const seen = new Set<string>();
  while (writing) {
    const marks = new Set((await contents(dir)).map((text) => text.split(' ')[1]));
    if (marks.size !== 1) t.fail(`mixture: ${[...marks]}`);
    for (const mark of marks) if (mark !== undefined) seen.add(mark);
  }
  await writer;
  t.ok(seen.size > 5, `saw ${seen.size} of the generations`);
  t.strictSame(await contents(dir), ['cert 150', 'key 150', 'ca 150']);
});

t.test('plain files are taken in, also one that was renamed over a link', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'cert plain', 'key.pem': 'key plain', 'notes.txt': 'mine' });
  await chmod(join(dir, 'key.pem'), 0o644);
  await writeGeneration(dir, trio('1'));
  t.strictSame(await contents(dir), ['cert 1', 'key 1', 'ca 1']);
  t.equal((await lstat(join(dir, 'cert.pem'))).isSymbolicLink(), true);
  t.equal((await stat(join(dir, 'key.pem'))).mode & 0o777, 0o600);

  await writeFile(join(dir, 'replacement'), 'cert by hand');
  await rename(join(dir, 'replacement'), join(dir, 'cert.pem'));
  t.strictSame(await contents(dir), ['cert by hand', 'key 1', 'ca 1'], 'what the name shows is what is read');
  await writeGeneration(dir, trio('2'));
  t.strictSame(await contents(dir), ['cert 2', 'key 2', 'ca 2']);
  t.equal(await readFile(join(dir, 'notes.txt'), 'utf8'), 'mine');
});

t.test('leftovers of a killed writer are removed, directories of other names are not', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, trio('1'));
  await mkdir(join(dir, '..2026_01_01_00_00_00.0123456789abcdef'));
  await writeFile(join(dir, '..2026_01_01_00_00_00.0123456789abcdef', 'key.pem'), 'half');
  await symlink('..2026_01_01_00_00_00.0123456789abcdef', join(dir, '..data_tmp'));
  await symlink('..data/cert.pem', join(dir, '..data_tmp.cert.pem'));
  await mkdir(join(dir, '..2026_01_01_00_00_00.123456789'));
  await writeGeneration(dir, trio('2'));
  const left = (await readdir(dir)).sort();
  const current = await readlink(join(dir, '..data'));
  t.strictSame(left, [current, '..2026_01_01_00_00_00.123456789', '..data', ...NAMES].sort());
});

t.test('a first write that was killed shows nothing, and the next one completes it', async (t) => {
  const dir = t.testdir();
  await symlink('..data/cert.pem', join(dir, 'cert.pem'));
  await symlink('..data/key.pem', join(dir, 'key.pem'));
  t.equal((await readGeneration(dir, NAMES)).size, 0);
  await writeGeneration(dir, trio('1'));
  t.strictSame(await contents(dir), ['cert 1', 'key 1', 'ca 1']);
});

t.test('a write that is not permitted leaves the old set and nothing else', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, trio('1'));
  const before = (await readdir(dir)).sort();
  await chmod(dir, 0o555);
  await asNobody(async () => {
    await t.rejects(writeGeneration(dir, trio('2')), { code: 'SL-FS-003', message: /permission denied \(EACCES\)/ });
  });
  await chmod(dir, 0o755);
  t.strictSame((await readdir(dir)).sort(), before);
  t.strictSame(await contents(dir), ['cert 1', 'key 1', 'ca 1']);
});

t.test('every system error while writing names the directory and the cause', async (t) => {
  const dir = t.testdir({ file: '' });
  await t.rejects(writeGeneration(join(dir, 'file'), trio('1')), {
    code: 'SL-FS-003',
    data: { reason: 'EEXIST' },
  });
});

t.test('what is read: links inside, plain files, nothing; and what is refused', async (t) => {
  t.test('a volume as kubelet writes it', async (t) => {
    const dir = t.testdir({ '..2026_11_24_07_30_00.123456789': { 'tls.crt': 'cert' } });
    await symlink('..2026_11_24_07_30_00.123456789', join(dir, '..data'));
    await symlink('..data/tls.crt', join(dir, 'tls.crt'));
    const files = await readGeneration(dir, ['tls.crt', 'tls.key'], { confined: true });
    t.strictSame(
      [...files].map(([name, { data }]) => [name, data.toString()]),
      [['tls.crt', 'cert']],
    );
  });
  t.test('no directory, dangling link, link to itself, directory, FIFO', async (t) => {
    const dir = t.testdir({ directory: {} });
    t.equal((await readGeneration(join(dir, 'missing'), NAMES)).size, 0);
    await symlink('nowhere', join(dir, 'dangling'));
    t.equal((await readGeneration(dir, ['dangling'])).size, 0);
    await symlink('loop', join(dir, 'loop'));
    await t.rejects(readGeneration(dir, ['loop']), { code: 'SL-FS-001', data: { reason: 'ELOOP' } });
    await t.rejects(readGeneration(dir, ['directory']), { code: 'SL-FS-001', why: 'It is not a regular file.' });
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    await t.rejects(readGeneration(dir, ['fifo']), { code: 'SL-FS-001', why: 'It is not a regular file.' });
  });
  t.test('a link that leads outside: followed for a directory of the user, refused when confined', async (t) => {
    const root = t.testdir({ archive: { 'key1.pem': 'key' }, live: {} });
    const dir = join(root, 'live');
    await symlink('../archive/key1.pem', join(dir, 'key.pem'));
    t.equal((await readGeneration(dir, ['key.pem'])).get('key.pem')?.data.toString(), 'key');
    await t.rejects(readGeneration(dir, ['key.pem'], { confined: true }), {
      code: 'SL-STORE-003',
      message: /key\.pem leads outside of its directory/,
      why: /archive\/key1\.pem/,
    });
    await rm(join(dir, 'key.pem'));
    await symlink('../archive', join(dir, '..data'));
    await symlink('..data/key1.pem', join(dir, 'key.pem'));
    await t.rejects(readGeneration(dir, ['key.pem'], { confined: true }), { code: 'SL-STORE-003' }, 'by ..data too');
  });
  t.test('a key that this process may not read', async (t) => {
    const dir = t.testdir({ 'key.pem': 'key' });
    await chmod(join(dir, 'key.pem'), 0o000);
    await asNobody(async () => {
      await t.rejects(readGeneration(dir, ['key.pem']), {
        code: 'SL-FS-001',
        message: /cannot read .*key\.pem: permission denied \(EACCES\)/,
        why: /has owner \d+:\d+ mode 0000, we run as uid \d+ \(group \d+\)/,
        fix: /chown \d+ .*key\.pem.*fsGroup/,
      });
    });
  });
});
