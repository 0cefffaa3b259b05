import { execFileSync } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { createLogger } from '../../../src/base/log.ts';
import { type Authority, openAuthority } from '../../../src/manager/ca.ts';
import { requireProgram } from '../../support/programs.ts';

type Options = Parameters<typeof openAuthority>[0];

function open(stateDirectory: string, options: Partial<Options> = {}): Promise<Authority> {
  return openAuthority({
    stateDirectory,
    name: 'AI-Teddy-CA',
    keySize: 2048,
    validityYears: 10,
    passphrase: undefined,
    issuer: false,
    trustDomain: 'ai-teddy.local',
    dnsDomains: [],
    usedBefore: false,
    clock: systemClock,
    log: createLogger({ level: 'silent' }),
    onProgress: () => {},
    ...options,
  });
}

t.test('the first start makes the CA and says what takes time, the second reads the same one', async (t) => {
  const directory = t.testdir();
  const progress: string[] = [];
  const first = await open(directory, { onProgress: (text) => progress.push(text) });
  t.same(progress, ['making the certificate authority AI-Teddy-CA: RSA 2048 key, valid 10 years']);
  t.equal(first.created, true);
  const second = await open(directory, { onProgress: () => t.fail('nothing is made') });
  t.equal(second.created, false);
  t.equal(second.root.fingerprint256, first.root.fingerprint256);
  t.ok(second.signer.key.equals(first.signer.key));
});

t.test('by default the root has 4096 bits and ten years', async (t) => {
  const { root } = await open(t.testdir(), { keySize: 4096 });
  t.equal(root.keyType, 'rsa-4096');
  t.ok(Math.abs(root.notAfter - root.notBefore - 10 * 365.25 * 86_400_000) < 3 * 86_400_000);
});

t.test('openssl reads the root as a CA, and only its owner reads the key', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const directory = t.testdir();
  await open(directory);
  const text = execFileSync(openssl, ['x509', '-in', join(directory, 'ca/root.crt'), '-noout', '-text']).toString();
  t.match(text, /X509v3 Basic Constraints: critical\s+CA:TRUE/);
  t.match(text, /X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign/);
  t.match(text, /CN ?= ?AI-Teddy-CA/);
  t.equal((await stat(join(directory, 'ca/root.key'))).mode & 0o777, 0o600);
  t.equal((await stat(join(directory, 'ca'))).mode & 0o777, 0o700);
});

t.test('with an issuing tier the root key signs no leaf, and openssl verifies the path', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const directory = t.testdir();
  const { root, signer, chainPem, bundlePem, ownKeys } = await open(directory, { issuer: true });
  t.not(signer.certificate.fingerprint256, root.fingerprint256);
  t.equal(signer.certificate.pathLength, 0);
  t.match(chainPem, /BEGIN CERTIFICATE/);
  t.equal(bundlePem, await readFile(join(directory, 'ca/root.crt'), 'utf8'));
  t.equal(ownKeys.size, 2);
  const ca = join(directory, 'ca');
  const verified = execFileSync(openssl, ['verify', '-CAfile', join(ca, 'root.crt'), join(ca, 'issuer.crt')]);
  t.match(verified.toString(), /OK/);
  t.equal((await open(directory, { issuer: true })).signer.certificate.serial, signer.certificate.serial);
});

t.test('a half, damaged or mixed CA is refused and left as it is', async (t) => {
  const directory = t.testdir({ good: {}, other: {} });
  await open(join(directory, 'good'), { issuer: true });
  await open(join(directory, 'other'), { issuer: true });
  const cut = async (file: string) => writeFile(file, (await readFile(file, 'utf8')).slice(0, 300));
  const take = (file: string) => (ca: string) => cp(join(directory, 'other/ca', file), join(ca, file));
  const damages: Readonly<Record<string, (ca: string) => Promise<unknown>>> = {
    'root.crt missing': (ca) => rm(join(ca, 'root.crt')),
    'root.key missing': (ca) => rm(join(ca, 'root.key')),
    'issuer.crt missing': (ca) => rm(join(ca, 'issuer.crt')),
    'issuer.key missing': (ca) => rm(join(ca, 'issuer.key')),
    'empty directory': async (ca) => {
      await rm(ca, { recursive: true });
      await mkdir(ca);
    },
    'root.crt cut': (ca) => cut(join(ca, 'root.crt')),
    'root.key cut': (ca) => cut(join(ca, 'root.key')),
    'root.key empty': (ca) => writeFile(join(ca, 'root.key'), ''),
    'key of another CA': take('root.key'),
    'certificate of another CA': take('root.crt'),
    'issuer of another CA': async (ca) => {
      await take('issuer.crt')(ca);
      await take('issuer.key')(ca);
    },
    'files swapped': async (ca) => {
      await rename(join(ca, 'root.crt'), join(ca, 'x'));
      await rename(join(ca, 'root.key'), join(ca, 'root.crt'));
      await rename(join(ca, 'x'), join(ca, 'root.key'));
    },
    'a file in the place of the directory': async (ca) => {
      await rm(ca, { recursive: true });
      await writeFile(ca, '');
    },
  };
  for (const [what, damage] of Object.entries(damages)) {
    const state = join(directory, what.replaceAll(' ', '-'));
    await cp(join(directory, 'good'), state, { recursive: true });
    await damage(join(state, 'ca'));
    const before = await snapshot(state);
    await t.rejects(open(state, { issuer: true }), { code: 'SL-CA-001' }, what);
    t.same(await snapshot(state), before, `${what}: nothing was made over it`);
  }
});

t.test('a CA that is gone after certificates were issued is never made anew', async (t) => {
  const directory = t.testdir();
  await t.rejects(open(directory, { usedBefore: true }), { code: 'SL-CA-001', why: /it is gone/ });
  t.same(await readdir(directory), []);
});

t.test('what a crash left while the CA was being made is no CA', async (t) => {
  const directory = t.testdir({ 'ca.new-Ab3dEf': { 'root.crt': 'half' } });
  t.equal((await open(directory)).created, true);
  t.same(await readdir(directory), ['ca']);
});

t.test('the keys are encrypted when there is a passphrase, and nothing opens without it', async (t) => {
  const directory = t.testdir();
  await open(directory, { passphrase: 'correct horse', issuer: true });
  for (const file of ['root.key', 'issuer.key']) {
    t.match(await readFile(join(directory, 'ca', file), 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/);
  }
  await t.rejects(open(directory), { code: 'SL-CA-002' }, 'missing');
  await t.rejects(open(directory, { passphrase: 'battery staple' }), { code: 'SL-CA-002' }, 'wrong');
  t.equal((await open(directory, { passphrase: 'correct horse' })).created, false);
});

t.test('a CA without issuing tier signs itself, and it is said that the next one will not', async (t) => {
  const directory = t.testdir();
  await open(directory);
  const lines: string[] = [];
  const log = createLogger({ level: 'warn', stream: { write: (line) => lines.push(line) } });
  const { signer, rootSigner } = await open(directory, { issuer: true, log });
  t.equal(signer, rootSigner);
  t.match(lines, [/"event":"ca_without_issuer".*the next root will not/]);
});

t.test('a key that others could read is closed to them, with a line in the log', async (t) => {
  const directory = t.testdir();
  await open(directory);
  await chmod(join(directory, 'ca/root.key'), 0o644);
  const lines: string[] = [];
  await open(directory, { log: createLogger({ level: 'warn', stream: { write: (line) => lines.push(line) } }) });
  t.equal((await stat(join(directory, 'ca/root.key'))).mode & 0o777, 0o600);
  t.match(lines.join(''), /mode_repaired.*0644/);
});

async function snapshot(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return await Promise.all(files.sort().map(async (file) => `${file} ${await readFile(file, 'utf8')}`));
}
