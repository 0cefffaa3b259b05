import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import t from 'tap';
import { createManagerClient } from '../../src/api/client.ts';
import { startApi } from '../../src/api/server.ts';
import { createLogger } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createBackup, restoreBackup } from '../../src/manager/backup.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { candidate, openManager, startRig } from '../support/manager/rig.ts';

const PASSPHRASE = 'correct horse battery';
const log = createLogger({ level: 'silent' });

/**
 * Path to mode and content of every file, through links, without what belongs to one process, and without the revocation
 * list, which a manager writes anew from its record as it starts.
 */
function contents(storage: string): Map<string, string> {
  const files = readdirSync(storage, { recursive: true, withFileTypes: true })
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => !/\/\.\.|lock\.|\.sock$|\/crl\.pem$/.test(path) && statSync(path).isFile());
  return new Map(
    files.sort().map((path) => [relative(storage, path), `${statSync(path).mode} ${readFileSync(path, 'base64')}`]),
  );
}

t.test('a sidecar renews at a manager that was restored elsewhere, without noticing', async (t) => {
  const rig = await startRig(t);
  const orders = await rig.enroll('orders');
  const { token } = await rig.manager.tokens.create({ service: 'spent' });
  await rig.client().enroll(token, (await candidate('spent')).csr);
  await rig.manager.initializeServiceCertificate({ serviceName: 'database', serviceType: 'database' });
  const directory = shortDirectory(t);
  const archive = join(directory, 'today.backup');
  const { clock, storage } = rig;
  const made = await createBackup({
    storagePath: storage,
    output: archive,
    passphrase: PASSPHRASE,
    verify: true,
    clock,
    log,
  });
  t.match(made, { verified: true });
  t.equal(statSync(archive).mode & 0o777, 0o600);
  t.notMatch(readFileSync(archive, 'latin1'), /PRIVATE KEY|orders/);
  t.strictSame(readdirSync(directory), ['today.backup'], 'the rehearsal leaves nothing');

  const elsewhere = join(directory, 'pki');
  await restoreBackup({ archive, storagePath: elsewhere, passphrase: PASSPHRASE, clock, log });
  t.strictSame(contents(elsewhere), contents(storage), 'every file and mode');

  let url = 'https://localhost:1';
  const metrics = createMetrics();
  const manager = await openManager(elsewhere, clock, { address: () => url });
  t.teardown(() => manager[Symbol.asyncDispose]());
  const local = { host: '127.0.0.1', port: 0 };
  const socketPath = join(elsewhere, '.sidelock/manager.sock');
  const api = await startApi({ manager, listen: local, health: local, socketPath, clock, log, metrics });
  t.teardown(() => api[Symbol.asyncDispose]());
  url = api.url;
  const client = createManagerClient({ address: url, clock, identity: () => orders });
  t.match(await client.renew((await candidate('orders')).csr), { spiffeId: orders.spiffeId.uri });
  await t.rejects(
    client.enroll(token, (await candidate('spent')).csr),
    { code: /SL-TOK-00[25]/ },
    'a spent token stays spent',
  );
  t.match(
    (await manager.tokens.list()).map(({ state }) => state),
    ['used', 'used'],
  );
  t.ok(await manager.store.load('database'));
});

t.test('M45 nothing is written from an archive that is not whole, or not ours to open', async (t) => {
  const rig = await startRig(t);
  await rig.manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' });
  const directory = shortDirectory(t);
  const archive = join(directory, 'good.backup');
  const options = { passphrase: PASSPHRASE, clock: rig.clock, log };
  await createBackup({ ...options, storagePath: rig.storage, output: archive, verify: false });
  const good = readFileSync(archive);
  const damaged = join(directory, 'damaged.backup');
  const storagePath = join(directory, 'pki');
  const refused = async (bytes: Buffer, code: RegExp, what: string, passphrase = PASSPHRASE) => {
    writeFileSync(damaged, bytes);
    await t.rejects(restoreBackup({ ...options, archive: damaged, storagePath, passphrase }), { code }, what);
  };
  const flipped = (at: number) => Buffer.from(good.map((byte, i) => (i === at ? byte ^ 1 : byte)));
  for (const at of [0, 17, 40, 200, Math.floor(good.length / 2), good.length - 1]) {
    await refused(flipped(at), /SL-BAK-00[12]/, `a flipped bit in byte ${at}`);
  }
  for (const length of [0, 10, 100, 1024, Math.floor(good.length / 2), good.length - 1]) {
    await refused(good.subarray(0, length), /SL-BAK-001/, `cut at ${length}`);
  }
  await refused(Buffer.concat([good, Buffer.from('x')]), /SL-BAK-001/, 'a byte more');
  await refused(good, /SL-BAK-002/, 'another passphrase', 'incorrect horse battery');
  t.notOk(existsSync(storagePath));
  t.strictSame(readdirSync(directory).toSorted(), ['damaged.backup', 'good.backup']);

  const into = (path: string) => restoreBackup({ ...options, archive, storagePath: path });
  await t.rejects(into(rig.storage), { code: 'SL-STORE-002' }, 'not over a live storage');
  await t.rejects(into(directory), { code: 'SL-BAK-003' }, 'not over anything');
  await t.rejects(createBackup({ ...options, storagePath: rig.storage, output: archive, verify: false }), {
    code: 'SL-FS-003',
  });
  t.ok(readFileSync(archive).equals(good), 'a backup never replaces a file');
});

t.test('the commands of the guide: backup --output, and restore', async (t) => {
  const directory = shortDirectory(t);
  const storage = join(directory, 'pki');
  const passphraseFile = join(directory, 'pass');
  const env = { MTLS_CA_KEY_SIZE: '2048', MTLS_STORAGE_PATH: storage, MTLS_BACKUP_PASSPHRASE_FILE: passphraseFile };
  t.match(await cli(['generate', '--service', 'orders'], { env }), { code: 0 });
  const output = join(directory, 'mtls');
  const bare = { ...env, MTLS_BACKUP_PASSPHRASE_FILE: undefined };
  t.match(await cli(['backup', '--output', output], { env: bare }), { code: 1, stderr: /SL-BAK-002/ });
  writeFileSync(passphraseFile, 'short\n');
  t.match(await cli(['backup', '--output', output], { env }), { code: 1, stderr: /is too short/ });
  writeFileSync(passphraseFile, `${PASSPHRASE}\n`);
  t.match(await cli(['backup', '--output', output, '--verify'], { env }), {
    code: 0,
    stdout: /✔ .*mtls {2}\d+ files, \d+ bytes, written, restored once and compared/,
  });
  t.match(await cli(['audit', 'show', '--action', 'backup_started'], { env }), { stdout: /operator +backup_started/ });
  t.match(await cli(['restore', output], { env }), { code: 1, stderr: /is not empty.*mv /s });
  const other = { ...env, MTLS_STORAGE_PATH: join(directory, 'other') };
  t.match(await cli(['restore', output], { env: other }), { code: 0, stdout: /files restored to .*other/ });
  t.match(await cli(['validate'], { env: other }), { code: 0 });
});
