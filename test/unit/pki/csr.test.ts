import { spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import t from 'tap';
import { EKU } from '../../../src/pki/certificate.ts';
import { createCsr, verifyCsr } from '../../../src/pki/csr.ts';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import { createRoot, issueLeaf } from '../../../src/pki/issue.ts';
import { generateKey, KEY_TYPES, spkiSha256 } from '../../../src/pki/keys.ts';
import { pemBlocks, pemEncode } from '../../../src/pki/pem.ts';
import {
  basicConstraints,
  dns,
  ecdsaWith,
  ecKeys,
  extension,
  extKeyUsage,
  ip,
  keyUsage,
  name,
  nameConstraints,
  OID,
  PURPOSE,
  rsaKeys,
  rsaSpki,
  rsaWith,
  subjectAltName,
  uri,
} from '../../support/badcert.ts';
import { extensionRequest, makeCsr, sealCsr } from '../../support/badcsr.ts';
import { failureOf } from '../../support/failure.ts';
import { writeOid } from '../../support/oid.ts';
import { requireProgram } from '../../support/programs.ts';

const LABEL = 'CERTIFICATE REQUEST';
const pem = (der: Buffer): string => pemEncode(LABEL, der);

/** One line about how `input` is refused. */
function refusal(input: string | Buffer): string {
  const { code, message, why } = failureOf(() => verifyCsr(input, 'the request'));
  return `${code} ${message}: ${why}`;
}

t.test('a request of each key type is read back by openssl and by us', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  for (const type of KEY_TYPES) {
    const key = await generateKey(type);
    const csr = createCsr(key, 'child-data-service');
    const { publicKey, keyType, requestedNames, ...rest } = verifyCsr(csr);
    t.equal(keyType, type);
    t.ok(publicKey.equals(createPublicKey(key)));
    t.equal(rest.spkiSha256, spkiSha256(key));
    t.same(requestedNames, ['child-data-service']);
    t.equal(verifyCsr(pemBlocks(csr, 'x')[0]?.der ?? '').spkiSha256, spkiSha256(key), 'DER too');
    const seen = spawnSync('openssl', ['req', '-verify', '-noout', '-text'], { input: csr, encoding: 'utf8' });
    t.equal(seen.status, 0, type);
    t.match(seen.stderr, /verify OK/);
    t.match(seen.stdout, /Version: 1 \(0x0\)\s+Subject: CN = child-data-service\s/);
    t.match(seen.stdout, /Attributes:\s+\(none\)/);
  }
});

t.test('requests of openssl are read', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const args = 'req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /O=x/CN=web -addext subjectAltName=DNS:a.b';
  const { stdout } = spawnSync('openssl', args.split(' '), { encoding: 'utf8' });
  t.same(verifyCsr(stdout).requestedNames, ['web', 'a.b']);
  const ec = 'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout /dev/null -subj / -sha512';
  t.match(verifyCsr(spawnSync('openssl', ec.split(' '), { encoding: 'utf8' }).stdout), {
    keyType: 'ecdsa-p384',
    requestedNames: [],
  });
});

t.test('M1: names of others are told to the audit log and go nowhere else', async (t) => {
  const sans = subjectAltName(uri('spiffe://ai-teddy.local/ns/default/sa/admin'), dns('admin'), ip(10, 0, 0, 1));
  const request = verifyCsr(makeCsr({ subject: name('admin'), attributes: [extensionRequest(sans)] }));
  t.same(request.requestedNames, ['admin', 'spiffe://ai-teddy.local/ns/default/sa/admin', 'admin', '10.0.0.1']);
  const leaf = await leafFor(request.publicKey);
  t.equal(leaf.subject, 'CN=web');
  t.same(
    leaf.sans?.map(({ value }) => value),
    ['spiffe://ai-teddy.local/ns/default/sa/web', 'web'],
  );
});

async function leafFor(publicKey: ReturnType<typeof verifyCsr>['publicKey']) {
  const key = await generateKey('ecdsa-p256');
  const now = Date.now();
  const certificate = await createRoot({ name: 'AI-Teddy-CA', key, now, validityYears: 10 });
  return issueLeaf({
    signer: { certificate, key },
    publicKey,
    spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/web',
    sans: [{ type: 'dns', value: 'web' }],
    validityMs: 90 * 86_400_000,
    now,
  });
}

t.test('M2: no extension that a request asks for is in the certificate', async (t) => {
  const asked = extensionRequest(
    basicConstraints(true),
    keyUsage('keyCertSign', 'cRLSign'),
    extKeyUsage(PURPOSE.codeSigning, PURPOSE.any),
    nameConstraints({ permitted: [dns('evil')] }),
    extension(OID.ski, writeDer(TAG.octetString, Buffer.alloc(20, 1))),
    extension('1.2.3.4', Buffer.from('x')),
  );
  const { publicKey } = verifyCsr(makeCsr({ attributes: [asked] }));
  const leaf = await leafFor(publicKey);
  t.equal(leaf.isCa, false);
  t.same([...(leaf.keyUsage ?? [])], ['digitalSignature']);
  t.same(leaf.eku, [EKU.serverAuth, EKU.clientAuth]);
  t.not(leaf.ski, '01'.repeat(20));
  t.same(leaf.extensions.map(({ oid }) => oid).sort(), [OID.ski, OID.ku, OID.san, OID.bc, OID.aki, OID.eku].sort());
});

t.test('M3: two requests for extensions are refused, as two attributes and as two values', async (t) => {
  const one = extensionRequest(subjectAltName(dns('a')));
  const two = extensionRequest(subjectAltName(dns('admin')));
  t.equal(verifyCsr(makeCsr({ attributes: [one] })).requestedNames.at(-1), 'a');
  t.match(refusal(makeCsr({ attributes: [one, two] })), /SL-CSR-001 .*2 extension requests/);
  const values = writeDer(TAG.set, ...['a', 'b'].map((n) => writeDer(TAG.sequence, subjectAltName(dns(n)))));
  const both = writeDer(TAG.sequence, writeOid('1.2.840.113549.1.9.14'), values);
  t.match(refusal(makeCsr({ attributes: [both] })), /SL-CSR-001 .*2 extension requests/);
});

t.test('M4: strange subjects are ignored, and escaped where they are shown', async (t) => {
  const bmp = writeDer(
    TAG.sequence,
    writeDer(TAG.set, writeDer(TAG.sequence, writeOid('2.5.4.3'), writeDer(0x1e, Buffer.from('\0a\0d\0m', 'latin1')))),
  );
  const rows: ReadonlyArray<readonly [Buffer, readonly string[]]> = [
    [name('web', 'admin'), ['web', 'admin']],
    [name('svc\0admin\n'), ['svc\\x00admin\\x0a']],
    [name('\u202eadmin'), ['\\xe2\\x80\\xaeadmin']],
    [bmp, ['\\x00a\\x00d\\x00m']],
    [writeDer(TAG.sequence), []],
    [name('x'.repeat(3000)), ['x'.repeat(255)]],
  ];
  for (const [subject, names] of rows) t.same(verifyCsr(makeCsr({ subject })).requestedNames, names);
  const many = subjectAltName(...Array.from({ length: 300 }, (_, i) => dns(`n${i}`)));
  t.equal(verifyCsr(makeCsr({ attributes: [extensionRequest(many)] })).requestedNames.length, 64);
});

t.test('M5: the proof of possession must verify over the bytes that came', async (t) => {
  const { privateKey } = ecKeys();
  const rsa = rsaKeys(2048);
  const good = makeCsr();
  const bent = Buffer.from(good);
  bent[good.length - 1] = (bent[good.length - 1] ?? 0) ^ 1;
  const renamed = Buffer.from(good.toString('latin1').replace('web', 'wez'), 'latin1');
  const ed = generateKeyPairSync('ed25519');
  const edDsa = { identifier: writeDer(TAG.sequence, writeOid('1.3.101.112')), sign: () => randomBytes(64) };
  const none = { identifier: ecdsaWith('sha256').identifier, sign: () => Buffer.alloc(0) };
  const rows: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
    ['a flipped bit', bent, /does not verify/],
    ['signed by another key', makeCsr({ signer: privateKey }), /does not verify/],
    ['changed afterwards', renamed, /does not verify/],
    ['empty signature', makeCsr({ algorithm: none }), /does not verify/],
    ['an algorithm of another key', makeCsr({ algorithm: rsaWith('sha256'), signer: rsa.privateKey }), /its key ec/],
    ['SHA-1', makeCsr({ algorithm: ecdsaWith('sha1') }), /ecdsa-with-SHA1/],
    ['SHA-1 by RSA', makeCsr({ keys: rsa, algorithm: rsaWith('sha1') }), /sha1WithRSA/],
    ['MD5', makeCsr({ keys: rsa, algorithm: rsaWith('md5') }), /md5WithRSA/],
    ['random Ed25519', makeCsr({ keys: ed, algorithm: edDsa }), /does not verify/],
    [
      'unknown algorithm',
      makeCsr({ algorithm: { ...none, identifier: writeDer(TAG.sequence, writeOid('1.2.3')) } }),
      /1\.2\.3/,
    ],
  ];
  for (const [label, der, why] of rows) {
    t.match(refusal(der), /^SL-CSR-002 the request is not signed by its key/, label);
    t.match(refusal(der), why, label);
  }
  t.equal(verifyCsr(makeCsr({ keys: rsa, algorithm: rsaWith('sha512') })).keyType, 'rsa-2048');
});

t.test('M6: requests with EC and Ed25519 keys are as good as RSA', async (t) => {
  for (const type of ['ecdsa-p256', 'ecdsa-p384', 'ed25519'] as const) {
    t.equal(verifyCsr(createCsr(await generateKey(type), 'web')).keyType, type);
  }
});

t.test('M7: weak RSA keys are refused before the proof is looked at', async (t) => {
  const rows: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
    ['512', rsaKeys(512).publicKey.export({ type: 'spki', format: 'der' }), /RSA 512/],
    ['1024', rsaKeys(1024).publicKey.export({ type: 'spki', format: 'der' }), /RSA 1024/],
    ['e = 3', rsaKeys(2048, 3).publicKey.export({ type: 'spki', format: 'der' }), /e=0x03/],
    ['16,384 bits', rsaSpki(16_384), /limit/],
  ];
  for (const [label, spki, why] of rows) {
    t.match(refusal(makeCsr({ spki })), /^SL-KEY-001 the key of the request is not accepted/, label);
    t.match(refusal(makeCsr({ spki })), why, label);
  }
});

t.test('M8: points that are none are refused before the proof is looked at', async (t) => {
  const head = ecKeys().publicKey.export({ type: 'spki', format: 'der' }).subarray(0, -65);
  const algorithm = head.subarray(2, -3);
  const spki = (point: Buffer) => writeDer(TAG.sequence, algorithm, writeDer(TAG.bitString, Buffer.from([0]), point));
  t.match(refusal(makeCsr({ spki: spki(Buffer.from([0])) })), /^SL-KEY-001 .*point/);
  t.match(
    refusal(makeCsr({ spki: spki(Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 7)])) })),
    /^SL-KEY-001 .*point/,
  );
});

t.test('M10: size is looked at first', async (t) => {
  t.match(refusal('A'.repeat(1_000_000)), /SL-CSR-001 .*16384 are the limit/);
  t.match(refusal(Buffer.alloc(1_000_000, 0x30)), /SL-CSR-001 .*16384 are the limit/);
  t.match(refusal(writeDer(TAG.sequence, Buffer.alloc(2_000_000, Buffer.from([0x30, 0])))), /16384 are the limit/);
  t.match(refusal(makeCsr({ spki: rsaSpki(8_000_000) })), /16384 are the limit/);
  const nine = makeCsr({ subject: name('x'.repeat(9000)) });
  t.match(refusal(pem(nine)), /SL-CSR-001 .*8192 are the limit/);
  t.match(refusal(nine), /8192 are the limit/);
});

/** A bomb of one of seven kinds, of a size that grows with `i`. */
function bomb(i: number): Buffer {
  const size = 1 + (i % 143) * 55;
  const nested = (depth: number) => {
    let der: Buffer = Buffer.alloc(0);
    for (let d = 0; d < depth; d++) der = writeDer(d % 2 === 0 ? TAG.sequence : TAG.set, der);
    return der;
  };
  const head = makeCsr().subarray(0, 4);
  switch (i % 7) {
    case 0:
      return nested(17 + (size % 2500));
    case 1:
      return Buffer.alloc(size, Buffer.from([0x30, 0x80]));
    case 2:
      return Buffer.concat([Buffer.from([0x30, 0x84, 0x80, 0, 0, 0]), Buffer.alloc(size)]);
    case 3:
      return Buffer.concat([Buffer.from([0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 1]), Buffer.alloc(size)]);
    case 4:
      return makeCsr({ attributes: [writeDer(TAG.sequence, writeDer(TAG.oid, Buffer.alloc(size + 64, 0x81)))] });
    case 5:
      return writeDer(TAG.sequence, Buffer.alloc(size & ~1, Buffer.from([0x30, 0])));
    default:
      return Buffer.concat([head, randomBytes(size)]);
  }
}

t.test('M11: 1,000 ASN.1 bombs are refused one by one, none of them costs much', async (t) => {
  const codes = new Map<string, number>();
  const times: number[] = [];
  for (let i = 0; i < 1000; i++) {
    const der = bomb(i);
    const started = performance.now();
    const { code } = failureOf(() => verifyCsr(i % 2 === 0 ? der : pem(der)));
    times.push(performance.now() - started);
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  t.same([...codes], [['SL-CSR-001', 1000]]);
  t.comment(`slowest: ${Math.max(...times).toFixed(1)} ms`);
  t.equal(verifyCsr(makeCsr()).keyType, 'ecdsa-p256', 'and the next good one is read');
});

t.test('M12: a text holds one block and nothing doubtful', async (t) => {
  const good = pem(makeCsr());
  t.equal(verifyCsr(`text before\n${good}text after\n`).keyType, 'ecdsa-p256');
  const [begin = '', ...rest] = good.split('\n');
  const rows: ReadonlyArray<readonly [string, string, RegExp]> = [
    ['5 MB header', [begin, `X: ${'a'.repeat(5_000_000)}`, ...rest].join('\n'), /limit/],
    ['header', [begin, 'X: y', '', ...rest].join('\n'), /headers/],
    ['20,000 blocks', good.repeat(20_000), /limit/],
    ['two blocks', good + good, /2 PEM blocks/],
    ['BEGIN x 11,000', `${begin}\n`.repeat(11_000), /limit/],
    ['BEGIN x 400', `${begin}\n`.repeat(400), /no END line/],
    ['another label', pemEncode('CERTIFICATE', makeCsr()), /it is a CERTIFICATE/],
    ['a private key', pemEncode('PRIVATE KEY', makeCsr()), /it is a PRIVATE KEY/],
    ['cut', good.slice(0, -40), /no END/],
    ['base64 with a stray character', good.replace('M', '-'), /base64|BEGIN/],
    ['empty', '', /empty/],
    ['no PEM', 'hello', /no BEGIN/],
  ];
  for (const [label, text, why] of rows) {
    t.match(refusal(text), /^SL-CSR-001 the request does not parse/, label);
    t.match(refusal(text), why, label);
  }
});

t.test('M13: nothing but the DER of a PKCS 10 request', async (t) => {
  const good = makeCsr();
  const { identifier, sign } = ecdsaWith('sha256');
  const { privateKey } = ecKeys();
  const seal = (info: Buffer) => sealCsr(info, identifier, sign(info, privateKey));
  const spki = ecKeys().publicKey.export({ type: 'spki', format: 'der' });
  const zero = writeDer(TAG.integer, Buffer.from([0]));
  const longLength = Buffer.concat([Buffer.from([0x30, 0x83, 0]), good.subarray(2)]);
  const attribute = (value: Buffer) => makeCsr({ attributes: [writeDer(TAG.sequence, writeOid('1.2.3'), value)] });
  const rows: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
    ['bytes after it', Buffer.concat([good, Buffer.from([0])]), /1 bytes follow/],
    ['version 7', makeCsr({ version: 7 }), /version is 7/],
    ['version 1', makeCsr({ version: 1 }), /version is 1/],
    ['length not minimal', longLength, /shortest form/],
    ['a fifth part', makeCsr({ more: [zero] }), /more parts/],
    ['no attributes', seal(writeDer(TAG.sequence, zero, name('web'), spki)), /attributes is missing/],
    ['cut', good.subarray(0, -5), /bytes are missing/],
    ['string in pieces', attribute(writeDer(0x24, writeDer(TAG.octetString, Buffer.from('x')))), /in pieces/],
    ['primitive sequence', attribute(Buffer.from([0x10, 0])), /in pieces/],
    ['padded integer', attribute(Buffer.from([2, 2, 0, 1])), /padding/],
    ['BER boolean', attribute(Buffer.from([1, 1, 1])), /no BOOLEAN/],
    ['spare bits', attribute(Buffer.from([3, 2, 4, 0xff])), /unused bits/],
    ['full NULL', attribute(Buffer.from([5, 1, 0])), /NULL/],
    ['end of contents', attribute(Buffer.from([0, 0])), /end-of-contents/],
    ['a certificate', Buffer.from((await leafFor(ecKeys().publicKey)).der), /SL-CSR-001/],
    ['names that do not parse', makeCsr({ attributes: [extensionRequest(extension(OID.san, Buffer.from([1])))] }), /./],
  ];
  for (const [label, der, why] of rows) {
    t.match(refusal(der), /^SL-CSR-001/, label);
    t.match(refusal(der), why, label);
    t.match(refusal(pem(der)), /^SL-CSR-001/, label);
  }
});
