import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { DAY } from '../../../src/base/clock.ts';
import type { Certificate } from '../../../src/pki/certificate.ts';
import { readCrl, revocationOf, verifyCrl } from '../../../src/pki/crl.ts';
import { createCrl } from '../../../src/pki/crl-build.ts';
import { createRoot, type Signer } from '../../../src/pki/issue.ts';
import { generateKey } from '../../../src/pki/keys.ts';
import { pemBlocks, pemEncode } from '../../../src/pki/pem.ts';
import { requireProgram } from '../../support/programs.ts';
import { run } from '../../support/servers.ts';

const now = Math.floor(Date.now() / 1000) * 1000;

async function authority(name = 'AI-Teddy-CA', type: 'ecdsa-p256' | 'rsa-2048' | 'ed25519' = 'ecdsa-p256') {
  const key = await generateKey(type);
  return { key, certificate: await createRoot({ name, key, now, validityYears: 10 }) };
}

const made = (signer: Signer, number = 1, revoked: string[] = ['4a01', 'ff02'], nextUpdate = now + DAY) =>
  createCrl({
    signer,
    number,
    now,
    nextUpdate,
    entries: new Map(revoked.map((serial) => [serial, { reason: 'keyCompromise', at: now }])),
  });

const refused = (reason: string) => ({ code: 'SL-CRL-001', data: { reason } });

t.test('a list is read as it was made, with a high first octet in a serial too', async (t) => {
  for (const type of ['ecdsa-p256', 'rsa-2048', 'ed25519'] as const) {
    const ca = await authority('CA', type);
    const crl = await made(ca, 300);
    t.match(crl, { number: 300, thisUpdate: now, nextUpdate: now + DAY, aki: ca.certificate.ski });
    t.same(
      [...crl.entries],
      [
        ['4a01', { reason: 'keyCompromise', at: now }],
        ['ff02', { reason: 'keyCompromise', at: now }],
      ],
    );
    verifyCrl(crl, { file: 'x', issuers: [ca.certificate], now });
  }
  t.equal((await made(await authority(), 1, [])).entries.size, 0, 'an empty list');
});

t.test('openssl verifies it and reads number, reason and serial', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const directory = mkdtempSync(join(tmpdir(), 'sl-crl-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const ca = await authority();
  const [list, root] = [join(directory, 'crl.pem'), join(directory, 'ca.pem')];
  writeFileSync(list, (await made(ca, 7)).pem);
  writeFileSync(root, pemEncode('CERTIFICATE', ca.certificate.der));
  const seen = await run(openssl, ['crl', '-in', list, '-CAfile', root, '-verify', '-noout', '-text']);
  t.match(`${seen.stdout}${seen.stderr}`, /verify OK/);
  t.match(seen.stdout, /X509v3 CRL Number: \n\s+7[\s\S]*Serial Number: FF02[\s\S]*Key Compromise/);
});

t.test('C72, C76: another issuer, a bad signature, a list that is out of date or older is refused', async (t) => {
  const ca = await authority();
  const crl = await made(ca, 5);
  const rules = { file: 'x', issuers: [ca.certificate], now };
  t.throws(() => verifyCrl(crl, { ...rules, issuers: [] }), refused('wrong_issuer'));
  const twin = (await authority()).certificate;
  t.throws(() => verifyCrl(crl, { ...rules, issuers: [twin] }), refused('wrong_issuer'), 'same name, another key');
  const forged: Certificate = { ...twin, ski: crl.aki };
  t.throws(() => verifyCrl(crl, { ...rules, issuers: [forged] }), refused('bad_signature'));
  t.throws(() => verifyCrl(crl, { ...rules, now: now + 2 * DAY }), refused('expired'));
  t.doesNotThrow(() => verifyCrl(crl, { ...rules, now: now + 2 * DAY, allowStale: true }));
  t.throws(() => verifyCrl(crl, { ...rules, now: now - DAY }), refused('not_yet_valid'));
  const newer = await made(ca, 6, []);
  t.throws(() => verifyCrl(crl, { ...rules, held: newer }), refused('older'), 'a rollback would bring 4a01 back');
  t.doesNotThrow(() => verifyCrl(newer, { ...rules, held: crl }));
});

t.test('C73, C74, C75: empty, two lists, garbage, every cut and every flipped octet', async (t) => {
  const ca = await authority();
  const crl = await made(ca);
  const rules = { file: 'x', issuers: [ca.certificate], now };
  t.throws(() => readCrl('', 'x'), refused('empty'));
  t.throws(() => readCrl('\n', 'x'), refused('empty'));
  t.throws(() => readCrl(crl.pem + crl.pem, 'x'), refused('malformed'));
  t.throws(() => readCrl(pemEncode('CERTIFICATE', ca.certificate.der), 'x'), refused('malformed'));
  t.throws(() => readCrl(pemEncode('X509 CRL', ca.certificate.der), 'x'), refused('malformed'));
  const der = pemBlocks(crl.pem, 'x')[0]?.der ?? Buffer.alloc(0);
  let passed = 0;
  for (let i = 0; i < der.length; i++) {
    for (const bytes of [der.subarray(0, i), Buffer.from(der.map((octet, at) => (at === i ? octet ^ 0x01 : octet)))]) {
      try {
        verifyCrl(readCrl(pemEncode('X509 CRL', Buffer.from(bytes)), 'x'), rules);
        passed++;
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && /^SL-(CRL|PEM)-/.test(String(error.code)))) throw error;
      }
    }
  }
  t.equal(passed, 0, 'nothing that was touched passes, and nothing throws what is not ours');
});

t.test('an entry counts for its issuer only', async (t) => {
  const ca = await authority();
  const crl = await made(ca);
  const leaf = { ...ca.certificate, serial: '4a01', aki: ca.certificate.ski };
  t.match(revocationOf(crl, leaf), { reason: 'keyCompromise' });
  t.equal(revocationOf(crl, { ...leaf, serial: '4a02' }), undefined);
  t.equal(revocationOf(crl, { ...leaf, aki: '00' }), undefined);
  t.equal(revocationOf(crl, { ...leaf, issuerDer: Buffer.from('3000', 'hex') }), undefined);
});
