import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { privateKeyFromPem, privateKeyToPem } from '../../src/pki/keys.ts';
import { writeGeneration } from '../../src/store/generation.ts';
import { overwrite, SECRET_NAMES, swap, type Trio, testAuthority } from '../support/identity-files.ts';
import { startIdentity } from '../support/identity-rig.ts';
import { until } from '../support/until.ts';

const authority = testAuthority();

t.test('F7: a valid identity on disk is there when the start returns', async (t) => {
  const directory = t.testdir();
  const trio = authority.issue();
  await swap(directory, trio);
  const { holder, readiness, metric } = await startIdentity(t, { source: 'files', directory });
  t.equal(holder.current()?.serial, trio.serial);
  t.equal(holder.current()?.spiffeId, 'spiffe://ai-teddy.local/ns/default/sa/orders');
  t.ok(readiness.ready);
  t.equal(await metric('sidelock_reload_total{result="ok"}'), 1);
  t.equal(await metric('sidelock_identity_generation'), 1);
});

t.test('F4: one swap is one reload; a swap to the same content is none', async (t) => {
  const directory = t.testdir();
  const [first, second] = [authority.issue(), authority.issue()];
  await swap(directory, first);
  const { seen, serial, metric, source } = await startIdentity(t, { source: 'files', directory });
  await swap(directory, second);
  await until(() => serial() === second.serial);
  await swap(directory, second);
  await swap(directory, second);
  await source.renewNow();
  t.equal(seen.length, 2);
  t.equal(await metric('sidelock_reload_total{result="ok"}'), 2);
  t.equal(await metric('sidelock_reload_total{result="invalid"}'), 0);
});

t.test('F4: 50 swaps at once end in the last, no generation is mixed and none is taken twice', async (t) => {
  const directory = t.testdir();
  const trios = Array.from({ length: 50 }, () => authority.issue());
  await swap(directory, authority.issue());
  const { seen, serial, events, metric } = await startIdentity(t, { source: 'files', directory });
  for (const trio of trios) await swap(directory, trio);
  await until(() => serial() === trios.at(-1)?.serial);
  const serials = seen.map((identity) => identity.serial);
  t.equal(new Set(serials).size, serials.length);
  t.equal(await metric('sidelock_reload_total{result="ok"}'), seen.length);
  t.same(events('identity_refused'), [], 'never a mix');
});

t.test('one file overwritten after the other, under the names of a Secret', async (t) => {
  const directory = t.testdir();
  const [first, second, third] = [authority.issue(), authority.issue(), authority.issue()];
  await overwrite(directory, first, SECRET_NAMES);
  const { seen, serial } = await startIdentity(t, { source: 'files', directory });
  t.equal(serial(), first.serial);
  await overwrite(directory, second, SECRET_NAMES);
  await until(() => serial() === second.serial);
  await overwrite(directory, third, SECRET_NAMES);
  await until(() => serial() === third.serial);
  t.equal(seen.length, 3);
});

t.test('F3: certificate first, key later, and the reverse: one reload, when they match', async (t) => {
  for (const order of [
    ['cert', 'key'],
    ['key', 'cert'],
  ] as const) {
    const directory = t.testdir();
    const [first, second] = [authority.issue(), authority.issue()];
    await overwrite(directory, first);
    const { seen, serial, events, metric } = await startIdentity(t, { source: 'files', directory });
    await overwrite(directory, { [order[0]]: second[order[0]] });
    await until(() => events('identity_refused').length > 0);
    t.equal(serial(), first.serial);
    await overwrite(directory, { [order[1]]: second[order[1]] });
    await until(() => serial() === second.serial);
    t.equal(seen.length, 2);
    t.match(events('identity_refused'), [{ code: 'SL-PAIR-001' }]);
    t.equal(events('identity_refused').length, 1);
    t.equal(await metric('sidelock_reload_total{result="invalid"}'), 1);
    t.equal(await metric('sidelock_last_reload_successful'), 1);
  }
});

t.test('the directory vanishes and comes back', async (t) => {
  const parent = t.testdir();
  const directory = join(parent, 'identity');
  const [first, second] = [authority.issue(), authority.issue()];
  await swap(directory, first);
  const { serial, readiness, events } = await startIdentity(t, { source: 'files', directory });
  await rename(directory, join(parent, 'away'));
  await until(() => events('identity_refused').length > 0);
  t.equal(serial(), first.serial);
  t.ok(readiness.ready);
  t.match(events('identity_refused'), [{ code: 'SL-FS-001', serving: { serial: first.serial } }]);
  await swap(directory, second);
  await until(() => serial() === second.serial);
});

t.test('an identity that comes after the start', async (t) => {
  const directory = join(t.testdir(), 'not', 'yet', 'there');
  const { readiness, why, serial } = await startIdentity(t, { source: 'files', directory });
  t.match(why(), /^cannot read the identity directory .*ENOENT/);
  const trio = authority.issue();
  await swap(directory, trio);
  await until(() => serial() === trio.serial);
  t.ok(readiness.ready);
});

t.test("names of one's own, and a key encrypted with a passphrase from a file", async (t) => {
  const directory = t.testdir({ pass: 'correct horse\n' });
  const trio = authority.issue();
  const encrypted = privateKeyToPem(privateKeyFromPem(trio.key, 'key'), 'correct horse');
  const files = { cert: 'svid.pem', key: 'svid_key.pem', ca: 'svid_bundle.pem' };
  await overwrite(directory, { ...trio, key: encrypted }, files);
  const passphraseFile = join(directory, 'pass');
  const { serial } = await startIdentity(t, { source: 'files', directory, files, passphraseFile });
  t.equal(serial(), trio.serial);
  await writeFile(passphraseFile, 'wrong');
  const wrong = await startIdentity(t, { source: 'files', directory, files, passphraseFile });
  await until(() => wrong.events('identity_refused').length > 0);
  t.match(wrong.events('identity_refused'), [{ code: 'SL-PEM-005' }]);
  await rm(passphraseFile);
  const missing = await startIdentity(t, { source: 'files', directory, files, passphraseFile });
  t.match(missing.why(), /cannot read the passphrase file .*ENOENT/);
});

t.test('source bundle: key and chain in one file, the roots in another directory, each may change', async (t) => {
  const parent = t.testdir({ trust: {} });
  const directory = join(parent, 'credential');
  const file = join(directory, 'credentialbundle.pem');
  const ca = join(parent, 'trust', 'roots.pem');
  const put = ({ cert, key }: Trio, mode = 0o640) =>
    writeGeneration(directory, { 'credentialbundle.pem': { data: `${key}${cert}`, mode } });
  const [first, second, third] = [authority.issue(), authority.issue(), authority.issue()];
  await put(first);
  await writeFile(ca, first.ca);
  const { serial, holder, events } = await startIdentity(t, { source: 'bundle', file, ca });
  t.equal(serial(), first.serial);
  await put(second);
  await until(() => serial() === second.serial);
  await writeFile(ca, `${second.ca}${testAuthority('Next').root.pem}`);
  await until(() => holder.current()?.material.bundle.roots.length === 2);
  t.equal(serial(), second.serial, 'the same leaf, another trust generation');
  await put(third, 0o644);
  await until(() => events('identity_refused').length > 0);
  t.match(events('identity_refused'), [{ code: 'SL-FS-002' }], 'the key makes the file a secret');
  await put({ ...third, key: '' });
  await until(() => events('identity_refused').length > 1);
  t.match(events('identity_refused')[1], { code: 'SL-PEM-002' });
  await put(third);
  await until(() => serial() === third.serial);
});
