import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { openManager } from '../support/manager/rig.ts';

t.test('keys of the CA are encrypted, get another passphrase, and are opened again; all or nothing', async (t) => {
  const directory = shortDirectory(t);
  const storage = join(directory, 'pki');
  const state = join(storage, '.sidelock');
  const file = async (name: string, text: string) => {
    await writeFile(join(directory, name), `${text}\n`);
    return join(directory, name);
  };
  const [one, two, short] = [
    await file('one', 'correct horse battery'),
    await file('two', 'staple of the horse'),
    await file('short', 'short'),
  ];
  const made = await openManager(storage, systemClock);
  await made.devices.create({ device: 'teddy-1' });
  await made.trust.take('stage');
  const root = made.ca.rootSha256;
  const change = (...flags: string[]) => cli(['ca', 'passphrase', '--storage', storage, ...flags]);
  const held = await change('--new-passphrase-file', one);
  t.match(held, { code: 1, stderr: /SL-STORE-002/ }, 'not under a manager that runs');
  await made[Symbol.asyncDispose]();

  const keys = async () => {
    const paths = ['ca/root.key', 'ca-2/root.key', 'devices/issuer.key'];
    const pems = await Promise.all(paths.map((path) => readFile(join(state, path), 'utf8')));
    return pems.map((pem) => /BEGIN ([A-Z ]+)/.exec(pem)?.[1]);
  };
  const plain = await keys();
  t.match(await change('--new-passphrase-file', short), { code: 1, stderr: /too short/ });
  t.match(await change('--new-passphrase-file', one, '--format', 'json'), {
    code: 0,
    stdout: /"keys": 3,\s+"changed": 3/,
  });
  t.same(
    await keys(),
    plain.map(() => 'ENCRYPTED PRIVATE KEY'),
  );
  await t.rejects(openManager(storage, systemClock), { code: 'SL-CA-002' }, 'nothing opens without it');
  const before = await readFile(join(state, 'ca/root.key'));
  t.match(await change('--passphrase-file', two, '--remove'), { code: 1, stderr: /SL-CA-002/ });
  t.same(await readFile(join(state, 'ca/root.key')), before, 'a wrong one changes nothing');

  // As a crash would leave it: one key has the new passphrase already.
  t.match(await change('--passphrase-file', one, '--new-passphrase-file', two), { code: 0, stdout: /3 of 3/ });
  await writeFile(join(state, 'ca/root.key'), before);
  t.match(await change('--passphrase-file', one, '--new-passphrase-file', two), { code: 0, stdout: /1 of 3/ });
  const again = await openManager(storage, systemClock, { ca: { passphrase: 'staple of the horse' } });
  t.equal(again.ca.rootSha256, root);
  await again.trust.take('activate');
  await again[Symbol.asyncDispose]();
  t.match(await change('--passphrase-file', two, '--remove'), { code: 0 });
  t.notOk((await keys()).some((label) => label?.startsWith('ENCRYPTED')));
  t.match((await cli(['audit', 'verify', '--storage', storage])).code, 0);
  t.ok((await readdir(state)).includes('trust.json'));
});
