import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createMetrics } from '../../src/base/metrics.ts';
import { readRootExport } from '../../src/manager/root-export.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { openManager, startRig } from '../support/manager/rig.ts';

t.test('the key of the root leaves the storage, its issuer goes on, and it is put back, verified', async (t) => {
  const rig = await startRig(t, { ca: { issuer: true } });
  const { manager, storage, clock } = rig;
  const ca = join(storage, '.sidelock', 'ca');
  const directory = shortDirectory(t);
  const file = async (called: string, text: string) => {
    await writeFile(join(directory, called), text);
    return join(directory, called);
  };
  const pass = await file('pass', 'of the root alone\n');
  const [caPass, backupPass] = [await file('ca-pass', 'keys at rest here\n'), await file('bak', 'for the backups\n')];
  const key = join(directory, 'root.key');
  const offline = (...flags: string[]) => cli(['ca', 'offline', '--storage', storage, '--output', key, ...flags]);
  const online = (...flags: string[]) => cli(['ca', 'online', key, '--storage', storage, ...flags]);
  const web = await rig.enroll('web');
  const before = await readFile(join(ca, 'root.key'), 'utf8');

  t.match(await offline('--passphrase-file', pass, '--dry-run'), { code: 0, stdout: /can be taken offline/ });
  t.ok((await readdir(ca)).includes('root.key'));
  t.match(await offline('--passphrase-file', pass, '--yes'), { code: 0, stdout: /and nowhere else/ });
  t.same((await readdir(ca)).sort(), ['issuer.crt', 'issuer.key', 'root.crt', 'root.offline']);
  t.notMatch(await readFile(key, 'latin1'), /PRIVATE KEY/);
  await t.rejects(manager.caCare.takeOffline({}), { code: 'SL-CA-006' }, 'once is enough');

  await t.test('what the issuer can do goes on', async (t) => {
    await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' });
    await rig.enroll('cache');
    t.match((await manager.devices.create({ device: 'teddy-1' })).certificate, /BEGIN/);
    const { crlNumber } = await manager.revocations.revoke({ service: 'web', reason: 'superseded' });
    t.equal(manager.revocations.crl().number, crlNumber);
    t.ok(manager.revocations.get(web.leaf.serial));
    t.match((await cli(['trust', 'status', '--storage', storage])).stdout, /AI-Teddy-CA .* offline/);
  });
  await t.test('what only the root can do names the command', async (t) => {
    const stage = await cli(['trust', 'stage', '--storage', storage]);
    t.match(stage, { code: 1, stderr: /sidelock ca online[\s\S]*SL-CA-005/ });
    await t.rejects(manager.trust.take('stage', { dryRun: true }), { code: 'SL-CA-005' });
    t.equal(manager.trust.phase(), 'steady');
  });
  await t.test('a backup and another passphrase of the store go without it', async (t) => {
    const backup = join(directory, 'a.backup');
    const flags = ['--passphrase-file', backupPass];
    t.match(await cli(['backup', '--storage', storage, '--output', backup, ...flags]), { code: 0 });
    const restored = join(directory, 'restored');
    t.match(await cli(['restore', backup, '--storage', restored, ...flags]), { code: 0 });
    t.notOk((await readdir(join(restored, '.sidelock', 'ca'))).includes('root.key'));
    const change = ['ca', 'passphrase', '--storage', restored, '--new-passphrase-file', caPass];
    t.match(await cli(change), { code: 0, stdout: /2 of 2 keys/ });
    await using again = await openManager(restored, clock, { ca: { issuer: true, passphrase: 'keys at rest here' } });
    t.match((await again.trust.status()).roots, [{ key: 'offline' }], 'and remembers where it is');
    await again.caCare.putOnline((await readRootExport(key, 'of the root alone')).key, {});
    t.match(
      await readFile(join(restored, '.sidelock/ca/root.key'), 'utf8'),
      /ENCRYPTED/,
      'encrypted as the others are',
    );
    await t.rejects(readRootExport(key, 'of something else'), { code: 'SL-BAK-002' });
    const misused = ['ca', 'online', backup, '--storage', storage, ...flags];
    t.match(await cli(misused), { code: 1, stderr: /perhaps a backup[\s\S]*SL-CA-006/ });
  });
  await t.test('the key of another root is not taken for it', async (t) => {
    const stranger = await openManager(join(directory, 'stranger'), clock, { metrics: createMetrics() });
    t.teardown(() => stranger[Symbol.asyncDispose]());
    const pem = await readFile(join(directory, 'stranger/.sidelock/ca/root.key'), 'utf8');
    await t.rejects(manager.caCare.putOnline(pem, {}), { code: 'SL-CA-006', message: /not the key of CN=AI-Teddy-CA/ });
    await t.rejects(stranger.caCare.takeOffline({}), { code: 'SL-CA-006', why: /there is no issuer/ });
  });

  t.match(await online('--passphrase-file', pass, '--dry-run'), { code: 0, stdout: /nothing was changed/ });
  t.notOk((await readdir(ca)).includes('root.key'));
  t.match(await online('--passphrase-file', pass), { code: 0, stdout: /is back/ });
  t.equal(await readFile(join(ca, 'root.key'), 'utf8'), before);
  t.equal((await manager.trust.take('stage')).phase, 'staged');
  const cross = await readFile(join(storage, '.sidelock/ca-2/cross.crt'), 'utf8');
  t.equal(certificatesFromPem(cross, 'cross')[0]?.issuer, 'CN=AI-Teddy-CA', 'cross-signed again');
  const audit = await readFile(join(storage, '.sidelock/audit.log'), 'utf8');
  t.same(audit.match(/ca_root_\w+/g), ['ca_root_offline', 'ca_root_online']);
});

t.test('without the root a stolen issuer is replaced all the same, and a crash half way is finished', async (t) => {
  const directory = shortDirectory(t);
  const options = { ca: { issuer: true } };
  const { clock } = await startRig(t);
  const state = join(directory, '.sidelock');
  const key = async () => {
    await using manager = await openManager(directory, clock, options);
    const pem = await readFile(join(state, 'ca/root.key'), 'utf8');
    await manager.caCare.takeOffline({});
    return pem;
  };
  const pem = await key();
  // As a crash between the mark and the removal leaves it, and one between the return and the mark's removal.
  await writeFile(join(state, 'ca/root.key'), pem, { mode: 0o600 });
  await using manager = await openManager(directory, clock, options);
  t.notOk((await readdir(join(state, 'ca'))).includes('root.key'));
  const { phase, roots } = await manager.trust.take('compromise');
  t.equal(phase, 'compromised');
  t.match(roots, [{ key: 'offline' }, { key: 'here', state: 'signs' }]);
  t.notOk((await readdir(join(state, 'ca-2'))).includes('cross.crt'), 'nothing that was stolen vouches for it');
});

t.test('a storage that began without an issuer gets one with its next root', async (t) => {
  const directory = shortDirectory(t);
  const { clock } = await startRig(t);
  await (await openManager(directory, clock))[Symbol.asyncDispose]();
  await using manager = await openManager(directory, clock, { ca: { issuer: true } });
  await t.rejects(manager.caCare.takeOffline({}), { code: 'SL-CA-006', fix: /sidelock trust stage/ });
  await manager.trust.take('stage');
  await manager.trust.take('activate');
  await manager.caCare.takeOffline({});
  await manager.initializeServiceCertificate({ serviceName: 'web', serviceType: 'api_service' });
  t.match((await manager.trust.status()).roots, [{ key: 'here' }, { key: 'offline', state: 'signs' }]);
});
