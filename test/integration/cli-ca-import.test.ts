import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { MINUTE, systemClock } from '../../src/base/clock.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { basicConstraints, keyPem, makeCa, makeLeaf, makeRoot, name } from '../support/badcert.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { openManager, startRig } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';

const acme = makeRoot({ subject: name('Acme Root') });
const issuing = makeCa(acme, { subject: name('Acme Issuing'), extensions: { bc: basicConstraints(true, 0) } });

function written(t: Parameters<typeof shortDirectory>[0]) {
  const directory = shortDirectory(t);
  const file = async (called: string, text: string) => {
    await writeFile(join(directory, called), text);
    return join(directory, called);
  };
  return { directory, file };
}

t.test('a CA that openssl made becomes that of a new storage, and openssl verifies what it issues', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const { directory, file } = written(t);
  const [cert, key, storage] = ['ca.pem', 'ca.key', 'pki'].map((called) => join(directory, called));
  if (cert === undefined || key === undefined || storage === undefined) return;
  const pass = await file('pass', 'of the imported key\n');
  const make = ['req', '-x509', '-newkey', 'rsa:2048', '-subj', '/O=Acme/CN=Acme Root', '-days', '3650'];
  const usage = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  await run(openssl, [...make, ...usage, '-keyout', key, '-out', cert, '-passout', `file:${pass}`]);
  const given = ['ca', 'import', '--cert', cert, '--key', key, '--storage', storage];
  t.match(await cli(given), { code: 1, stderr: /SL-PEM-005/ }, 'its key is encrypted, and that is said');
  const locked = [...given, '--key-passphrase-file', pass];
  t.match(await cli([...locked, '--dry-run']), { code: 0, stdout: /trial .*orders\.ai-teddy\.local.*peers take it/ });
  t.match(await cli(locked), { code: 2, stderr: /nobody can be asked/ });
  t.notOk(existsSync(storage), 'nothing was written');
  t.match(await cli([...locked, '--yes']), { code: 0, stdout: /taken/ });
  await using manager = await openManager(storage, systemClock);
  t.equal(manager.ca.rootSha256, certificatesFromPem(await readFile(cert), 'ca')[0]?.fingerprint256);
  const made = await manager.initializeServiceCertificate({ serviceName: 'web', serviceType: 'api_service' });
  const leaf = await file('web.pem', made.certificate.toString());
  t.match((await run(openssl, ['verify', '-x509_strict', '-CAfile', cert, leaf])).stdout, /OK/);
  t.match(
    (await manager.devices.create({ device: 'teddy-1' })).certificate,
    /BEGIN/,
    'its key makes the issuer of devices',
  );
});

t.test('an intermediate is enough: its root is trusted, and what only the root can do says so', async (t) => {
  const { directory, file } = written(t);
  const storage = join(directory, 'pki');
  const [cert, key, chain] = [
    await file('i.pem', issuing.pem),
    await file('i.key', keyPem(issuing)),
    await file('root.pem', acme.pem),
  ];
  const given = ['ca', 'import', '--cert', cert, '--key', key, '--storage', storage, '--yes'];
  const bare = await cli(given);
  t.match(bare, { code: 1, stdout: /chain_incomplete.*CN=Acme Root, which is not given\n +fix.*--chain/ });
  t.match(bare.stdout, /nothing was changed/);
  t.match(await cli([...given, '--chain', chain]), { code: 0, stdout: /CN=Acme Issuing.*\n.*CN=Acme Root/ });
  await using manager = await openManager(storage, systemClock);
  const { certificate } = await manager.ca.generateServiceCertificate({ serviceName: 'web', serviceType: 'cache' });
  t.same(
    certificatesFromPem(certificate, 'web').map(({ subject }) => subject),
    ['CN=web', 'CN=Acme Issuing'],
  );
  t.match(await manager.trust.status(), { roots: [{ subject: 'CN=Acme Root', key: 'offline' }] });
  await t.rejects(manager.devices.create({ device: 'teddy-1' }), { code: 'SL-CA-005', why: /never was here/ });
  await manager.trust.take('stage');
  t.equal((await manager.trust.take('activate')).phase, 'active', 'the next root follows it all the same');
});

t.test('beside a CA that is in use it is staged, not swapped, and then follows as one of ours would', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const rig = await startRig(t);
  const { manager, storage } = rig;
  await manager.initializeServiceCertificate({ serviceName: 'web', serviceType: 'api_service' });
  const old = manager.trustBundle().pem;
  const { file } = written(t);
  const imported = async (cert: string, key: string, ...more: string[]) =>
    cli([
      'ca',
      'import',
      '--cert',
      await file('c', cert),
      '--key',
      await file('k', key),
      '--storage',
      storage,
      ...more,
    ]);
  const leaf = makeLeaf(acme);
  const wrong = await imported(leaf.pem + acme.pem, keyPem(leaf), '--yes', '--format', 'json');
  t.match(wrong, { code: 1, stdout: /"taken": false,[\s\S]*"code": "not_a_ca"/ });
  t.equal(manager.trust.phase(), 'steady');
  t.match(await imported(issuing.pem + acme.pem, keyPem(issuing), '--dry-run'), { code: 0 });
  t.equal(manager.trust.phase(), 'steady');
  t.match(await imported(issuing.pem + acme.pem, keyPem(issuing), '--yes'), { code: 0, stdout: /as the next root/ });
  t.equal(manager.trust.phase(), 'staged');
  t.equal(manager.trustBundle().roots.length, 2, 'both are trusted');
  t.match(await imported(acme.pem, keyPem(acme), '--yes'), { code: 1, stdout: /known_already/ });
  const late = makeRoot({ subject: name('Late') });
  t.match(await imported(late.pem, keyPem(late), '--yes'), { code: 1, stderr: /SL-TRUST-002/ });

  await manager.trust.take('activate');
  const [, ...chain] = certificatesFromPem((await manager.store.load('web'))?.certificate ?? '', 'web');
  t.same(
    chain.map(({ subject, issuer }) => [subject, issuer]),
    [
      ['CN=Acme Issuing', 'CN=Acme Root'],
      ['CN=Acme Root', 'CN=AI-Teddy-CA'],
    ],
    'cross-signed by the one before',
  );
  const served = await file('served.pem', (await manager.store.load('web'))?.certificate.toString() ?? '');
  const verified = await run(openssl, ['verify', '-CAfile', await file('old', old), '-untrusted', served, served]);
  t.match(verified.stdout, /OK/, 'who knows only the old root verifies it too');
  await rig.pass(3 * MINUTE);
  const status = await manager.trust.take('retire');
  t.match(status.roots, [
    { key: 'destroyed', state: 'gone' },
    { key: 'offline', state: 'signs' },
  ]);
  const lines = (await readFile(join(storage, '.sidelock/audit.log'), 'utf8')).match(
    /"action":"(ca_imported|trust_\w+)"/g,
  );
  t.same(
    lines?.map((line) => line.slice(10, -1)),
    ['trust_staged', 'ca_imported', 'trust_activated', 'trust_retired'],
  );
});
