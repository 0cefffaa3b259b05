import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock as clock } from '../../../src/base/clock.ts';
import { openFileStore } from '../../../src/store/file-store.ts';
import type { CertificateFiles } from '../../../src/store/store.ts';
import { recordingLogger } from '../../support/store/log-lines.ts';
import { trio } from '../../support/store/trio.ts';
import { asNobody } from '../../support/unprivileged.ts';

const isRoot = process.geteuid?.() === 0;
const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

async function openStore(path: string, { repairModes = true } = {}) {
  const { log, lines } = recordingLogger();
  return { store: await openFileStore({ path, clock, log, repairModes }), lines };
}

/** A storage with one service in it. */
async function stored(t: Test, umask = process.umask()) {
  const path = join(t.testdir(), 'storage');
  process.umask(umask);
  const files = trio();
  const { store, lines } = await openStore(path);
  await store.save('orders', files);
  return { path, directory: join(path, 'orders'), files, store, lines };
}

/** Files as another program writes them: plain, one after the other. */
async function writePlain(directory: string, files: CertificateFiles): Promise<void> {
  await writeFile(join(directory, 'cert.pem'), files.certificate);
  await writeFile(join(directory, 'key.pem'), files.privateKey);
  await writeFile(join(directory, 'ca.pem'), files.caCertificate);
}

t.test('on disk are the names and modes of the guide, under any umask', async (t) => {
  const before = process.umask();
  t.teardown(() => process.umask(before));
  for (const umask of [0o000, 0o077]) {
    const { path, directory, files } = await stored(t, umask);
    process.umask(before);
    t.strictSame((await readdir(directory)).filter((name) => !name.startsWith('.')).sort(), [
      'ca.pem',
      'cert.pem',
      'key.pem',
    ]);
    t.strictSame(await readFile(join(directory, 'key.pem')), files.privateKey);
    const modes = await Promise.all(
      [path, directory, ...['key.pem', 'cert.pem', 'ca.pem'].map((name) => join(directory, name))].map(modeOf),
    );
    t.strictSame(modes, [0o700, 0o700, 0o600, 0o644, 0o644], `umask ${umask.toString(8)}`);
  }
});

t.test('unchanged files are parsed once', async (t) => {
  const { store } = await stored(t);
  await remembered(store);
  const first = await store.load('orders');
  t.equal(await store.load('orders'), first);
});

t.test('files so young that a second write could look the same are read each time', async (t) => {
  const { path, directory } = await stored(t);
  const { ctimeMs } = await stat(directory);
  let now = ctimeMs + 50;
  const store = await openFileStore({
    path,
    clock: { ...clock, now: () => now },
    log: recordingLogger().log,
    repairModes: true,
  });
  t.not(await store.load('orders'), await store.load('orders'));
  now = ctimeMs + 500;
  t.equal(await store.load('orders'), await store.load('orders'));
});

t.test('the memory is never older than the files', async (t) => {
  t.test('after a swap by another process', async (t) => {
    const { store, path } = await stored(t);
    await remembered(store);
    const next = trio();
    await (await openStore(path)).store.save('orders', next);
    t.strictSame((await store.load('orders'))?.privateKey, next.privateKey);
  });
  t.test('after overwriting in place, with equal size and modification time', async (t) => {
    const { store, directory, files } = await stored(t);
    execFileSync('cp', ['-p', join(directory, 'ca.pem'), join(directory, 'reference')]);
    await remembered(store);
    const other = Buffer.alloc(files.caCertificate.length, 'x');
    await writeFile(join(directory, 'ca.pem'), other);
    execFileSync('touch', ['-r', join(directory, 'reference'), join(directory, 'ca.pem')]);
    t.strictSame((await store.load('orders'))?.caCertificate, other);
  });
  t.test('after each of a thousand overwrites in a row, faster than the clock of the file system', async (t) => {
    const { store, directory } = await stored(t);
    const path = join(directory, 'ca.pem');
    let stale = 0;
    for (let i = 100; i < 1_100; i++) {
      const content = `bundle ${i}`;
      await writeFile(path, content);
      if ((await store.load('orders'))?.caCertificate.toString() !== content) stale++;
    }
    t.equal(stale, 0);
  });
  t.test('after a file was renamed over a link, and after plain files replaced the directory', async (t) => {
    const { store, directory } = await stored(t);
    await remembered(store);
    const next = trio();
    await writeFile(join(directory, 'next'), next.certificate);
    await rename(join(directory, 'next'), join(directory, 'cert.pem'));
    t.strictSame((await store.load('orders'))?.certificate, next.certificate);
    await rm(directory, { recursive: true });
    await mkdir(directory, { mode: 0o700 });
    await writePlain(directory, next);
    t.strictSame((await store.load('orders'))?.privateKey, next.privateKey);
    const last = trio();
    await store.save('orders', last);
    t.strictSame((await store.load('orders'))?.privateKey, last.privateKey);
  });
  t.test('after deletion', async (t) => {
    const { store, directory } = await stored(t);
    await remembered(store);
    await rm(directory, { recursive: true });
    t.equal(await store.load('orders'), undefined);
  });
});

t.test('modes that let others in are corrected and logged', async (t) => {
  const { store, directory, path, lines } = await stored(t);
  await chmod(join(directory, 'key.pem'), 0o644);
  await chmod(join(directory, 'cert.pem'), 0o666);
  await chmod(directory, 0o755);
  t.ok(await store.load('orders'));
  t.strictSame(
    await Promise.all([directory, join(directory, 'key.pem'), join(directory, 'cert.pem')].map(modeOf)),
    [0o700, 0o600, 0o644],
  );
  t.match(lines, [
    { event: 'mode_repaired', path: directory, was: '0755', now: '0700', level: 40 },
    { event: 'mode_repaired', path: join(directory, 'cert.pem'), was: '0666', now: '0644' },
    { event: 'mode_repaired', path: join(directory, 'key.pem'), was: '0644', now: '0600' },
  ]);
  await chmod(path, 0o755);
  await openStore(path);
  t.equal(await modeOf(path), 0o700);
});

t.test('or refused, when the store may not correct them', async (t) => {
  const { directory, path } = await stored(t);
  const { store } = await openStore(path, { repairModes: false });
  await chmod(join(directory, 'key.pem'), 0o644);
  await t.rejects(store.load('orders'), {
    code: 'SL-FS-002',
    message: /key\.pem is open to other users/,
    why: /Its mode is 0644/,
    fix: `chmod 0600 ${join(directory, 'key.pem')}`,
  });
  await chmod(join(directory, 'key.pem'), 0o600);
  await chmod(directory, 0o750);
  await t.rejects(store.load('orders'), { code: 'SL-STORE-003', why: /0750/ });
  await chmod(path, 0o755);
  await t.rejects(openStore(path, { repairModes: false }), { code: 'SL-STORE-003', why: /0755/ });
});

t.test(
  'files and directories of another user are refused',
  { skip: !isRoot && 'only root can make them' },
  async (t) => {
    const { store, directory, path } = await stored(t);
    await chown(join(directory, 'key.pem'), 12_345, 12_345);
    await t.rejects(store.load('orders'), {
      code: 'SL-STORE-003',
      message: /key\.pem belongs to another user/,
      why: /uid 12345, we run as uid 0/,
    });
    await chown(path, 12_345, 12_345);
    await t.rejects(openStore(path), { code: 'SL-STORE-003', message: /storage belongs to another user/ });
  },
);

t.test('a parent that everyone may write to is refused, a sticky one is not', async (t) => {
  const parent = t.testdir();
  await chmod(parent, 0o777);
  await t.rejects(openStore(join(parent, 'storage')), {
    code: 'SL-STORE-003',
    message: /is writable by everyone/,
    fix: `chmod o-w ${parent}`,
  });
  await chmod(parent, 0o1777);
  await openStore(join(parent, 'storage'));
});

t.test('a key that is a link to outside is refused', async (t) => {
  const { store, directory, path } = await stored(t);
  await writeFile(join(path, 'stolen'), 'secret', { mode: 0o600 });
  await rm(join(directory, 'key.pem'));
  await symlink('../stolen', join(directory, 'key.pem'));
  await t.rejects(store.load('orders'), { code: 'SL-STORE-003', message: /key\.pem leads outside/ });
  t.equal(await readFile(join(path, 'stolen'), 'utf8'), 'secret');
});

t.test('an incomplete or damaged set is named', async (t) => {
  const { store, directory, files } = await stored(t);
  await rm(join(directory, 'key.pem'));
  await t.rejects(store.load('orders'), {
    code: 'SL-STORE-003',
    message: /orders holds no key\.pem/,
    why: /only cert\.pem and ca\.pem/,
  });
  await writeFile(join(directory, 'key.pem'), files.certificate, { mode: 0o600 });
  await writeFile(join(directory, 'cert.pem'), files.certificate.subarray(0, 300));
  await t.rejects(store.load('orders'), { code: 'SL-PEM-003', message: /cert\.pem/ });
});

t.test('a storage that cannot be read says who we are', async (t) => {
  const { store, directory, path } = await stored(t);
  await chmod(directory, 0o000);
  await asNobody(async () => {
    await t.rejects(store.load('orders'), {
      code: 'SL-FS-001',
      message: /permission denied \(EACCES\)/,
      why: /has owner .* mode 0\d{3}, we run as uid/,
    });
  });
  await chmod(directory, 0o700);
  await t.rejects(openStore(join(path, 'orders', 'cert.pem')), { code: 'SL-FS-003' });
});

t.test('saves of one service take turns, and the last one stays', async (t) => {
  const { store, directory } = await stored(t);
  const all = Array.from({ length: 10 }, trio);
  await Promise.all(all.map((files) => store.save('orders', files)));
  t.strictSame((await store.load('orders'))?.privateKey, all.at(-1)?.privateKey);
  t.equal((await readdir(directory)).filter((name) => /^\.\.\d/.test(name)).length, 1);
});

t.test('a load beside saves always gets a key that belongs to its certificate', async (t) => {
  const { store } = await stored(t);
  const all = Array.from({ length: 40 }, trio);
  const keyOf = new Map(all.map((files) => [files.certificate.toString(), files.privateKey.toString()]));
  let saving = true;
  const saves = (async () => {
    for (const files of all) await store.save('orders', files);
    saving = false;
  })();
  let mixed = 0;
  while (saving) {
    const loaded = await store.load('orders');
    const key = keyOf.get(loaded?.certificate.toString() ?? '');
    if (key !== undefined && key !== loaded?.privateKey.toString()) mixed++;
  }
  await saves;
  t.equal(mixed, 0);
});

t.test('list shows complete services only, and a deletion that was cut off ends later', async (t) => {
  const { store, path } = await stored(t);
  await mkdir(join(path, '.sidelock'));
  await mkdir(join(path, 'lost+found'));
  await mkdir(join(path, 'half'));
  await mkdir(join(path, '.trash-0123456789abcdef'));
  await writeFile(join(path, '.trash-0123456789abcdef', 'key.pem'), 'old');
  t.strictSame(await store.list(), ['orders']);
  await store.delete('orders');
  t.strictSame((await readdir(path)).sort(), ['.sidelock', 'half', 'lost+found']);
});

/** Waits until the files are old enough to be kept in memory, as they are in all but tests. */
async function remembered(store: { load(name: string): Promise<unknown> }): Promise<void> {
  let before: unknown;
  for (let now = await store.load('orders'); now !== before; now = await store.load('orders')) {
    before = now;
    await delay(20);
  }
}
