import { spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import {
  checkSpki,
  generateKey,
  KEY_TYPES,
  keyTypeOf,
  privateKeyFromPem,
  privateKeyToPem,
  spkiSha256,
} from '../../../src/pki/keys.ts';
import { pemBlocks, pemEncode } from '../../../src/pki/pem.ts';
import { ecKeys, rsaKeys, rsaSpki } from '../../support/badcert.ts';
import { failureOf } from '../../support/failure.ts';
import { writeOid } from '../../support/oid.ts';
import { requireProgram } from '../../support/programs.ts';

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });
const ec = await generateKey('ecdsa-p256');
const sealed = privateKeyToPem(ec, 'correct horse');

t.test('each type is made, known again, and survives PEM with and without a passphrase', async (t) => {
  for (const type of KEY_TYPES) {
    const key = await generateKey(type);
    t.equal(key.type, 'private', type);
    t.equal(keyTypeOf(key), type);
    t.equal(keyTypeOf(createPublicKey(key)), type);
    const checked = checkSpki(spkiOf(key));
    t.equal(checked.keyType, type);
    t.ok(checked.key.equals(createPublicKey(key)));
    t.ok(privateKeyFromPem(privateKeyToPem(key), 'k').equals(key));
    t.ok(privateKeyFromPem(Buffer.from(privateKeyToPem(key, 'pass')), 'k', 'pass').equals(key));
    t.match(spkiSha256(key), /^[0-9a-f]{64}$/);
    t.equal(spkiSha256(key), spkiSha256(createPublicKey(key)));
    t.equal(spkiSha256(key), spkiSha256(spkiOf(key)));
  }
});

t.test('openssl reads our keys, sealed with AES-256, and we read its old forms', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const openssl = (args: readonly string[], input: string) => spawnSync('openssl', args, { input, encoding: 'utf8' });
  for (const type of KEY_TYPES) {
    const key = await generateKey(type);
    const pub = createPublicKey(key).export({ type: 'spki', format: 'pem' });
    const pem = privateKeyToPem(key, 'pass');
    t.match(pem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    t.match(openssl(['asn1parse'], pem).stdout, /aes-256-cbc/);
    t.equal(openssl(['pkey', '-pubout', '-passin', 'pass:pass'], pem).stdout, pub, type);
    t.not(openssl(['pkey', '-pubout', '-passin', 'pass:other'], pem).status, 0);
  }
  t.equal(
    keyTypeOf(privateKeyFromPem(openssl(['ecparam', '-name', 'prime256v1', '-genkey'], '').stdout, 'k')),
    'ecdsa-p256',
  );
  const old = openssl(['genrsa', '-traditional', '2048'], '').stdout;
  t.match(old, /BEGIN RSA PRIVATE KEY/);
  t.equal(keyTypeOf(privateKeyFromPem(old, 'k')), 'rsa-2048');
});

t.test('each fault of a key file has its code', async (t) => {
  const plain = privateKeyToPem(ec);
  const certificate = pemEncode('CERTIFICATE', Buffer.from('x'));
  const der = pemBlocks(plain, 'k')[0]?.der ?? Buffer.alloc(0);
  const sealedDer = pemBlocks(sealed, 'k')[0]?.der ?? Buffer.alloc(0);
  const rows: ReadonlyArray<readonly [string, string, string | undefined, string, RegExp]> = [
    ['empty', '', undefined, 'SL-PEM-001', /empty/],
    ['cut', plain.slice(0, 100), undefined, 'SL-PEM-003', /no END/],
    ['a certificate', certificate, undefined, 'SL-PEM-002', /CERTIFICATE block, not a PRIVATE KEY/],
    ['a public key', pemEncode('PUBLIC KEY', spkiOf(ec)), undefined, 'SL-PEM-002', /PUBLIC KEY/],
    ['key and certificate', plain + certificate, undefined, 'SL-PEM-002', /line 6 begins a CERTIFICATE/],
    ['two keys', plain + plain, undefined, 'SL-PEM-002', /line 6 begins a second/],
    ['parameters alone', pemEncode('EC PARAMETERS', Buffer.from('x')), undefined, 'SL-PEM-002', /no key/],
    ['sealed, no passphrase', sealed, undefined, 'SL-PEM-005', /no passphrase/],
    ['sealed, wrong passphrase', sealed, 'wrong horse', 'SL-PEM-005', /does not fit/],
    ['sealed, empty passphrase', sealed, '', 'SL-PEM-005', /does not fit/],
    [
      'sealed and cut in DER',
      pemEncode('ENCRYPTED PRIVATE KEY', sealedDer.subarray(0, -9)),
      'x',
      'SL-PEM-004',
      /missing/,
    ],
    ['cut in DER', pemEncode('PRIVATE KEY', der.subarray(0, -3)), undefined, 'SL-PEM-004', /3 bytes are missing/],
    ['bytes after it', pemEncode('PRIVATE KEY', Buffer.concat([der, der])), undefined, 'SL-PEM-004', /follow/],
    ['another structure', pemEncode('PRIVATE KEY', writeDer(TAG.sequence)), undefined, 'SL-PEM-004', /OpenSSL/],
  ];
  for (const [name, pem, passphrase, code, why] of rows) {
    const error = failureOf(() => privateKeyFromPem(pem, '/etc/x/key.pem', passphrase));
    t.equal(error.code, code, name);
    t.match(error.why, why, name);
    t.match(error.message, /\/etc\/x\/key\.pem/, name);
    t.notMatch(`${error.message} ${error.why} ${JSON.stringify(error.data)}`, /horse/, name);
  }
});

/** An SPKI of RSA with this modulus and exponent. */
function rsa(modulus: Buffer, exponent: Buffer = Buffer.from([1, 0, 1])): Buffer {
  const key = writeDer(TAG.sequence, writeDer(TAG.integer, modulus), writeDer(TAG.integer, exponent));
  return spki([writeOid('1.2.840.113549.1.1.1'), writeDer(TAG.null)], key);
}

function spki(algorithm: readonly Buffer[], key: Buffer): Buffer {
  return writeDer(TAG.sequence, writeDer(TAG.sequence, ...algorithm), writeDer(TAG.bitString, Buffer.from([0]), key));
}

const P256 = [writeOid('1.2.840.10045.2.1'), writeOid('1.2.840.10045.3.1.7')];

function modulus(bits: number): Buffer {
  const n = rsaKeys(2048).publicKey.export({ format: 'jwk' }).n ?? '';
  const real = Buffer.concat([Buffer.from([0]), Buffer.from(n, 'base64url')]);
  return bits === 2048
    ? real
    : Buffer.concat([real.subarray(0, 1), Buffer.alloc(bits / 8 - 256, 0xff), real.subarray(1)]);
}

const good = modulus(2048);
const even = Buffer.from(good);
even[256] = (even[256] ?? 0) & 0xfe;
t.test('M7: weak RSA keys are refused before anything is computed with them', async (t) => {
  t.equal(checkSpki(rsa(good)).keyType, 'rsa-2048', 'the frame of these rows is sound');
  const rows: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
    ['512 bits', spkiOf(rsaKeys(512).privateKey), /RSA 512/],
    ['1024 bits', spkiOf(rsaKeys(1024).privateKey), /RSA 1024/],
    ['2047 bits', rsa(Buffer.concat([Buffer.from([0x7f]), good.subarray(2)])), /RSA 2047/],
    ['2056 bits', rsa(modulus(2056)), /RSA 2056/],
    ['8192 bits', rsaSpki(8192), /1062 bytes|RSA 8192/],
    ['65,536 bits', rsaSpki(65_536), /bytes; 1024 are the limit/],
    ['e = 1', rsa(good, Buffer.from([1])), /e=0x01/],
    ['e = 3', spkiOf(rsaKeys(2048, 3).privateKey), /e=0x03/],
    ['e of 2048 bits', rsa(good, good), /e=0x|limit/],
    ['negative e', rsa(good, Buffer.from([0xff])), /e=0xff/],
    ['even modulus', rsa(even), /even/],
    ['negative modulus', rsa(good.subarray(1)), /negative|RSA/],
    ['modulus 0', rsa(Buffer.from([0])), /RSA 1|RSA 0|even/],
    ['padded modulus', rsa(Buffer.concat([Buffer.from([0]), good])), /padding/],
    [
      'RSA-PSS key',
      spkiOf(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey),
      /1\.2\.840\.113549\.1\.1\.10/,
    ],
    ['no NULL beside the OID', spki([writeOid('1.2.840.113549.1.1.1')], rsa(good).subarray(24)), /not encoded as DER/],
  ];
  for (const [name, der, why] of rows) {
    const error = failureOf(() => checkSpki(der));
    t.equal(error.code, 'SL-KEY-001', name);
    t.match(error.why, why, name);
  }
});

t.test('M7: a modulus with a prime factor below 2^16 is refused', async (t) => {
  for (const prime of [3n, 257n, 65_521n]) {
    const rest = BigInt(`0x${good.toString('hex')}`) / prime;
    const n = prime * (rest | 1n);
    const hex = n.toString(16).padStart(512, '0');
    const bytes = Buffer.from(`00${hex}`, 'hex');
    t.equal(bytes.length, 257);
    t.match(failureOf(() => checkSpki(rsa(bytes))).why, /factor below 65536/, `${prime}`);
  }
});

t.test('M8: an EC point that is none, or on another curve, is refused', async (t) => {
  const point = spkiOf(ec).subarray(-65);
  const off = Buffer.from(point);
  off[64] = (off[64] ?? 0) ^ 1;
  const hybrid = Buffer.from(point);
  hybrid[0] = 0x06 | ((point[64] ?? 0) & 1);
  const explicit = ecKeys('P-256', 'explicit').privateKey;
  const rows: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
    ['infinity', spki(P256, Buffer.from([0])), /none/],
    ['not on the curve', spki(P256, off), /no point/],
    ['hybrid form', spki(P256, hybrid), /none/],
    ['cut', spki(P256, point.subarray(0, 64)), /none/],
    ['too long', spki(P256, Buffer.concat([point, point])), /none/],
    ['empty', spki(P256, Buffer.alloc(0)), /none/],
    ['zero', spki(P256, Buffer.concat([Buffer.from([4]), Buffer.alloc(64)])), /no point/],
    ['coordinates above the field', spki(P256, Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 0xff)])), /no point/],
    ['explicit parameters', spkiOf(explicit), /explicit/],
    ...['P-521', 'secp256k1', 'P-224'].map((c) => [c, spkiOf(ecKeys(c).privateKey), new RegExp(c)] as const),
    ['Ed448', spkiOf(generateKeyPairSync('ed448').privateKey), /1\.3\.101\.113/],
    ['X25519', spkiOf(generateKeyPairSync('x25519').privateKey), /1\.3\.101\.110/],
    ['Ed25519 of 31 bytes', spki([writeOid('1.3.101.112')], Buffer.alloc(31, 1)), /Ed25519/],
    ['bytes after it', Buffer.concat([spkiOf(ec), Buffer.from([0])]), /follow/],
    ['garbage', Buffer.from('hello'), /./],
    ['nothing', Buffer.alloc(0), /./],
  ];
  for (const [name, der, why] of rows) {
    const error = failureOf(() => checkSpki(der));
    t.equal(error.code, 'SL-KEY-001', name);
    t.match(error.why, why, name);
  }
  t.equal(failureOf(() => keyTypeOf(explicit)).code, 'SL-KEY-001', 'own keys are judged by the same list');
});

t.test('M8, M9: a compressed point is accepted and counts as the same key', async (t) => {
  for (const curve of ['P-256', 'P-384']) {
    const { privateKey } = ecKeys(curve);
    const { x = '', y = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
    const sign = ((Buffer.from(y, 'base64url').at(-1) ?? 0) & 1) | 0x02;
    const oid = curve === 'P-256' ? '1.2.840.10045.3.1.7' : '1.3.132.0.34';
    const compressed = spki(
      [writeOid('1.2.840.10045.2.1'), writeOid(oid)],
      Buffer.concat([Buffer.from([sign]), Buffer.from(x, 'base64url')]),
    );
    const { key } = checkSpki(compressed);
    t.ok(key.equals(createPublicKey(privateKey)));
    t.equal(spkiSha256(key), spkiSha256(privateKey), curve);
    t.not(spkiSha256(compressed), spkiSha256(privateKey));
  }
});

t.test('a key of an old form is a key like others', async (t) => {
  const sec1 = ec.export({ type: 'sec1', format: 'pem' }).toString();
  t.ok(privateKeyFromPem(sec1, 'k').equals(createPrivateKey(privateKeyToPem(ec))));
});
