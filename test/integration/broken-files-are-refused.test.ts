import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { isSidelockError } from '../../src/base/errors.ts';
import { readDirectory } from '../../src/sidecar/sources/files.ts';
import { DAY, makeLeaf } from '../support/badcert.ts';
import { GUIDE_NAMES, overwrite, restore, spiffeIdOf, swap, testAuthority } from '../support/identity-files.ts';
import { startIdentity } from '../support/identity-rig.ts';
import { until } from '../support/until.ts';

const authority = testAuthority();
const good = authority.issue();
const other = authority.issue();
const now = Date.now();

interface Row {
  readonly what: string;
  readonly code: string;
  /** Makes the files in a directory that holds `good` wrong. */
  readonly spoil: (directory: string) => Promise<unknown>;
  /** What the reason must say. */
  readonly says?: RegExp;
}

const cert = (directory: string) => join(directory, 'cert.pem');
const key = (directory: string) => join(directory, 'key.pem');
const ca = (directory: string) => join(directory, 'ca.pem');
const instead = async (path: string, target: string) => {
  await rm(path);
  await symlink(target, path);
};

const rows: readonly Row[] = [
  {
    what: 'certificate and key swapped',
    code: 'SL-PEM-002',
    spoil: (d) => overwrite(d, { cert: good.key, key: good.cert }),
    says: /swapped/,
  },
  { what: 'certificate cut short', code: 'SL-PEM-003', spoil: (d) => overwrite(d, { cert: other.cert.slice(0, 700) }) },
  { what: 'key cut short', code: 'SL-PEM-003', spoil: (d) => overwrite(d, { key: good.key.slice(0, 100) }) },
  { what: 'bundle cut short', code: 'SL-PEM-003', spoil: (d) => overwrite(d, { ca: good.ca.slice(0, 300) }) },
  {
    what: 'key of another certificate',
    code: 'SL-PAIR-001',
    spoil: (d) => overwrite(d, { key: other.key }),
    says: /sha256 [0-9a-f]{64}/,
  },
  {
    what: 'expired',
    code: 'SL-CERT-001',
    spoil: (d) => overwrite(d, authority.issue('orders', { notBefore: now - 9 * DAY, notAfter: now - DAY })),
  },
  {
    what: 'not yet valid',
    code: 'SL-CLOCK-001',
    spoil: (d) => overwrite(d, authority.issue('orders', { notBefore: now + DAY, notAfter: now + 9 * DAY })),
    says: /our clock says/,
  },
  {
    what: 'another CA of the same name',
    code: 'SL-CERT-003',
    spoil: (d) => overwrite(d, { ca: testAuthority().root.pem }),
  },
  { what: 'another service', code: 'SL-CERT-004', spoil: (d) => overwrite(d, authority.issue('billing')) },
  {
    what: 'a leaf as bundle',
    code: 'SL-BUNDLE-002',
    spoil: (d) => overwrite(d, { ca: makeLeaf(authority.root).pem }),
  },
  { what: 'empty certificate', code: 'SL-PEM-001', spoil: (d) => writeFile(cert(d), '') },
  { what: 'empty key', code: 'SL-PEM-001', spoil: (d) => writeFile(key(d), '') },
  { what: 'empty bundle', code: 'SL-BUNDLE-001', spoil: (d) => writeFile(ca(d), '') },
  { what: 'bytes that are no PEM', code: 'SL-PEM-001', spoil: (d) => writeFile(cert(d), Buffer.alloc(4096, 0x30)) },
  { what: 'key readable by all', code: 'SL-FS-002', spoil: (d) => chmod(key(d), 0o644), says: /0644/ },
  { what: 'key readable by the group', code: 'SL-FS-002', spoil: (d) => chmod(key(d), 0o640) },
  { what: 'key writable by all', code: 'SL-FS-002', spoil: (d) => chmod(key(d), 0o602) },
  { what: 'key missing', code: 'SL-FS-001', spoil: (d) => rm(key(d)) },
  { what: 'dangling link', code: 'SL-FS-001', spoil: (d) => instead(cert(d), 'nowhere') },
  { what: 'link to a directory', code: 'SL-FS-001', spoil: (d) => instead(cert(d), '/') },
  { what: 'links in a loop', code: 'SL-FS-001', spoil: (d) => instead(cert(d), 'cert.pem') },
  {
    what: 'directory of that name',
    code: 'SL-FS-001',
    spoil: async (d) => {
      await rm(ca(d));
      await mkdir(ca(d));
    },
  },
];

t.test('F2, F5: each broken set is refused, said once, counted once, and the old one serves on', async (t) => {
  const directory = t.testdir();
  await restore(directory, good);
  const { seen, serial, readiness, events, metric } = await startIdentity(t, { source: 'files', directory });
  t.equal(serial(), good.serial);
  const root = process.geteuid?.() === 0;
  const owned: Row = {
    what: 'key of another user',
    code: 'SL-FS-002',
    spoil: (d) => chown(key(d), 12_345, 12_345),
    says: /uid 12345/,
  };

  for (const { what, code, spoil, says = /./ } of root ? [...rows, owned] : rows) {
    const before = events('identity_refused').length;
    const invalid = (await metric('sidelock_reload_total{result="invalid"}')) ?? 0;
    await spoil(directory);
    await until(() => events('identity_refused').length > before);
    const line = events('identity_refused').at(-1);
    t.match(line, { level: 40, code, where: directory, serving: { serial: good.serial } }, what);
    t.match(`${line?.['msg']} ${line?.['why']}`, says, `${what}: says why`);
    t.type(line?.['fix'], 'string');
    t.equal(await metric('sidelock_last_reload_successful'), 0);
    t.equal(await metric('sidelock_reload_total{result="invalid"}'), invalid + 1, `${what}: counted once`);
    await restore(directory, good);
    await until(async () => (await metric('sidelock_last_reload_successful')) === 1);
    // On a busy machine the files are looked at between two that are restored: another broken set.
    const said = events('identity_refused').length - before;
    t.equal(
      await metric('sidelock_reload_total{result="invalid"}'),
      invalid + said,
      `${what}: as often as it was said`,
    );
    t.equal(serial(), good.serial);
    t.ok(readiness.ready);
  }
  t.equal(seen.length, 1, 'the good set was never left');
  t.comment(`${rows.length + (root ? 1 : 0)} broken sets refused`);
});

t.test('at start: not ready, with the reason, and taken up when put right', async (t) => {
  for (const { what, code, spoil } of rows.filter(({ what }) => /expired|other service|by all|missing/.test(what))) {
    const directory = t.testdir();
    await restore(directory, good);
    await spoil(directory);
    const { readiness, why, serial, events } = await startIdentity(t, { source: 'files', directory });
    t.notOk(readiness.ready, what);
    t.match(why(), /\S+ \S+/, what);
    await until(() => events('identity_refused').length > 0);
    t.match(events('identity_refused'), [{ level: 50, code }]);
    await restore(directory, good);
    await until(() => serial() === good.serial);
    t.ok(readiness.ready);
  }
});

t.test('F2: no prefix of any of the three files makes an identity', async (t) => {
  const directory = t.testdir();
  await restore(directory, good);
  const load = async () => (await readDirectory({ directory }, { expectedId: spiffeIdOf('orders') })).load(now);
  let refused = 0;
  for (const part of ['cert', 'key', 'ca'] as const) {
    const text = good[part];
    for (let length = 0; length < text.length - 1; length += length > 60 && length < text.length - 80 ? 7 : 1) {
      await overwrite(directory, { [part]: text.slice(0, length) });
      const found = await load().catch((error: unknown) => error);
      if (isSidelockError(found)) refused++;
      else t.fail(`${length} bytes of ${part} were not refused`, { found });
    }
    await overwrite(directory, { [part]: text });
  }
  t.equal((await load()).leaf.serial, good.serial);
  t.comment(`${refused} prefixes refused`);
});

t.test('F2: a writer killed in the middle of cert.pem', async (t) => {
  const directory = t.testdir();
  await restore(directory, good);
  const { serial, events, metric } = await startIdentity(t, { source: 'files', directory });
  const writer = spawn('sh', ['-c', 'exec cat > "$1"', 'sh', cert(directory)], { stdio: ['pipe', 'ignore', 'ignore'] });
  writer.stdin.write(other.cert.slice(0, 700));
  await until(() => events('identity_refused').length > 0);
  writer.kill('SIGKILL');
  await once(writer, 'exit');
  t.equal(serial(), good.serial);
  t.match(events('identity_refused').at(-1), { code: 'SL-PEM-003' });
  await restore(directory, other);
  await until(() => serial() === other.serial);
  t.equal(await metric('sidelock_last_reload_successful'), 1);
});

t.test('in a mounted volume a key may be group-readable, as fsGroup makes it, and no more', async (t) => {
  const directory = t.testdir();
  await swap(directory, good, GUIDE_NAMES, 0o640);
  const { serial, events } = await startIdentity(t, { source: 'files', directory });
  t.equal(serial(), good.serial);
  for (const mode of [0o644, 0o660, 0o650]) {
    const before = events('identity_refused').length;
    await swap(directory, other, GUIDE_NAMES, mode);
    await until(() => events('identity_refused').length > before);
    t.match(events('identity_refused').at(-1), { code: 'SL-FS-002', fix: /defaultMode: 0400/ }, mode.toString(8));
    t.equal(serial(), good.serial);
    await swap(directory, good, GUIDE_NAMES, 0o640);
  }
});

t.test('a line about a key never holds the key', async (t: Test) => {
  const directory = t.testdir();
  await restore(directory, good);
  await overwrite(directory, { cert: good.key, key: good.key.replace('A', 'B') });
  const { lines, events } = await startIdentity(t, { source: 'files', directory });
  await until(() => events('identity_refused').length > 0);
  const secret = good.key.split('\n')[1] ?? 'none';
  t.notMatch(JSON.stringify(lines), secret);
});
