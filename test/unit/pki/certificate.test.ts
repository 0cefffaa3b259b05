import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { isSidelockError, type SidelockError } from '../../../src/base/errors.ts';
import { certificatesFromPem, parseCertificate } from '../../../src/pki/certificate.ts';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import {
  basicConstraints,
  DAY,
  dns,
  ecKeys,
  ip,
  keyPem,
  makeCa,
  makeLeaf,
  makeRoot,
  name,
  noExtensions,
  rsaKeys,
  rsaPss,
  rsaSpki,
  type Spec,
  subjectAltName,
  uri,
} from '../../support/badcert.ts';
import { writeOid } from '../../support/oid.ts';

const root = makeRoot();
const leaf = (spec: Spec = {}) => parseCertificate(makeLeaf(root, spec).der);

function failure(run: () => unknown): SidelockError {
  try {
    run();
  } catch (error) {
    if (isSidelockError(error)) return error;
    throw error;
  }
  throw new Error('expected a SidelockError');
}

t.test('a leaf is decoded into plain values that agree with OpenSSL', async (t) => {
  const party = makeLeaf(root);
  const c = parseCertificate(party.der);
  const x509 = new X509Certificate(party.der);
  t.equal(c.version, 3);
  t.equal(c.serial, x509.serialNumber.toLowerCase());
  t.equal(c.subject, 'CN=web');
  t.equal(c.issuer, 'CN=AI-Teddy-CA');
  t.same(c.issuerDer, root.subject);
  t.same(c.subjectDer, party.subject);
  t.equal(c.notBefore, x509.validFromDate.getTime());
  t.equal(c.notAfter, x509.validToDate.getTime());
  t.equal(c.fingerprint256, x509.fingerprint256.replaceAll(':', '').toLowerCase());
  t.equal(c.keyType, 'ecdsa-p256');
  t.equal(c.keyDescription, 'EC P-256');
  t.equal(c.signatureAlgorithm, 'ecdsa-with-SHA256');
  t.equal(c.isCa, false);
  t.equal(c.pathLength, undefined);
  t.same([...(c.keyUsage ?? [])], ['digitalSignature']);
  t.same(c.eku, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.same(
    c.sans?.map(({ type, value }) => [type, value]),
    [
      ['uri', 'spiffe://ai-teddy.local/ns/default/sa/web'],
      ['dns', 'web.ai-teddy.local'],
    ],
  );
  t.equal(c.spiffeId?.uri, 'spiffe://ai-teddy.local/ns/default/sa/web');
  t.equal(c.ski, party.keyId.toString('hex'));
  t.equal(c.aki, root.keyId.toString('hex'));
  t.ok(Object.isFrozen(c));
});

t.test('a CA is decoded', async (t) => {
  const c = parseCertificate(makeCa(root, { extensions: { bc: basicConstraints(true, 2) } }).der);
  t.equal(c.isCa, true);
  t.equal(c.pathLength, 2);
  t.same([...(c.keyUsage ?? [])], ['keyCertSign', 'cRLSign']);
  t.equal(c.sans, undefined);
  t.equal(c.spiffeId, undefined);
});

t.test('forbidden content is decoded, not refused', async (t) => {
  t.equal(leaf({ version: 0, extensions: noExtensions }).version, 1);
  t.equal(leaf({ serial: Buffer.from([0]) }).serial, '00');
  t.equal(leaf({ serial: Buffer.from([0x00, 0x80]) }).serial, '80');
  t.equal(leaf({ serial: Buffer.from([0xff]) }).serial, '-01');
  t.equal(leaf({ serial: Buffer.from([0x80, 0x00]) }).serial, '-8000');
  t.equal(leaf({ notAfter: Date.UTC(9999, 11, 31) }).notAfter, Date.UTC(9999, 11, 31));
  t.equal(leaf({ extensions: { again: basicConstraints(true) } }).isCa, false, 'the first of two counts');
  t.equal(leaf({ extensions: { san: subjectAltName() } }).sans?.length, 0);
});

t.test('the kinds of keys are told apart', async (t) => {
  const kind = (spec: Spec) => {
    const { keyType, keyDescription } = leaf(spec);
    return [keyType, keyDescription];
  };
  t.same(kind({ keys: rsaKeys(2048) }), ['rsa-2048', 'RSA 2048']);
  t.same(kind({ spki: rsaSpki(3072) }), ['rsa-3072', 'RSA 3072']);
  t.same(kind({ spki: rsaSpki(8192) }), [undefined, 'RSA 8192']);
  t.same(kind({ keys: rsaKeys(1024) }), [undefined, 'RSA 1024']);
  t.same(kind({ keys: rsaKeys(1024, 3) }), [undefined, 'RSA 1024 with e=0x03']);
  t.same(kind({ keys: ecKeys('P-384') }), ['ecdsa-p384', 'EC P-384']);
  t.same(kind({ keys: ecKeys('P-521') }), [undefined, 'EC P-521']);
  t.same(kind({ keys: ecKeys('P-256', 'explicit') }), [undefined, 'EC with explicit parameters']);
  t.same(kind({ spki: point('04', 64) }), ['ecdsa-p256', 'EC P-256']);
  t.same(kind({ spki: point('02', 32) }), ['ecdsa-p256', 'EC P-256']);
  t.same(kind({ spki: point('03', 32) }), ['ecdsa-p256', 'EC P-256']);
  for (const [first, size] of [
    ['00', 0],
    ['04', 32],
    ['02', 64],
    ['05', 32],
  ] as const) {
    const none = [undefined, 'EC P-256 with a public point that is none'];
    t.same(kind({ spki: point(first, size) }), none, `${first} and ${size} octets`);
  }
});

t.test('signature algorithms have names', async (t) => {
  const ca = makeRoot({ keys: rsaKeys(2048) });
  t.equal(parseCertificate(makeLeaf(ca).der).signatureAlgorithm, 'sha256WithRSAEncryption');
  t.equal(parseCertificate(makeLeaf(ca, { algorithm: rsaPss() }).der).signatureAlgorithm, 'rsassaPss-SHA256');
});

t.test('names of strangers are escaped, their octets kept', async (t) => {
  const san = subjectAltName(dns('a\0b\n\\"\xe9'), ip(10, 0, 0, 1), ip(...Array(15).fill(0), 1), ip(1, 2));
  const c = leaf({ subject: name('a\u202eb'), extensions: { san } });
  t.same(
    c.sans?.map(({ value }) => value),
    ['a\\x00b\\x0a\\x5c"\\xe9', '10.0.0.1', '::1', '0102'],
  );
  t.same(c.sans?.[0]?.raw, Buffer.from('a\0b\n\\"\xe9', 'latin1'));
  t.equal(c.subject, 'CN=a\\u202eb');
});

t.test('a SPIFFE id is there only when it is the one URI and valid', async (t) => {
  const id = (...uris: string[]) => leaf({ extensions: { san: subjectAltName(...uris.map(uri)) } }).spiffeId?.uri;
  t.equal(id('spiffe://td/a'), 'spiffe://td/a');
  t.equal(id('spiffe://td/a', 'spiffe://td/b'), undefined);
  t.equal(id('https://td/a'), undefined);
  t.equal(id(), undefined);
});

t.test('what does not decode is SL-PEM-004 with the reason', async (t) => {
  const good = makeLeaf(root).der;
  const cases: Array<[RegExp, Buffer]> = [
    [/1 bytes follow/, Buffer.concat([good, Buffer.from([0])])],
    [/10 bytes are missing/, good.subarray(0, -10)],
    [/notAfter is no time/, makeLeaf(root, { notAfter: writeDer(TAG.utcTime, Buffer.from('270101000000')) }).der],
    [/padding/, makeLeaf(root, { serial: Buffer.from([0, 0, 1]) }).der],
    [/differs from the one outside/, makeLeaf(root, { innerAlgorithm: rsaPss().identifier }).der],
    [/data ends inside/, Buffer.alloc(0)],
    [/bytes follow/, Buffer.from(makeLeaf(root).pem)],
  ];
  for (const [why, der] of cases) {
    const error = failure(() => parseCertificate(der));
    t.equal(error.code, 'SL-PEM-004');
    t.match(error.why, why);
  }
});

t.test('a PEM text gives its certificates in order', async (t) => {
  const [first, second] = certificatesFromPem(makeLeaf(root).pem + root.pem, 'cert.pem');
  t.equal(first?.subject, 'CN=web');
  t.equal(second?.fingerprint256, parseCertificate(root.der).fingerprint256);
});

t.test('a key where a certificate should be is named with its line', async (t) => {
  const party = makeLeaf(root);
  const error = failure(() => certificatesFromPem(party.pem + keyPem(party), '/x/cert.pem'));
  const line = party.pem.split('\n').length;
  t.equal(error.code, 'SL-PEM-002');
  t.equal(error.message, 'cannot read the certificate /x/cert.pem');
  t.equal(error.why, `line ${line} begins a PRIVATE KEY block, not a CERTIFICATE`);
});

t.test('a damaged certificate in a PEM text is named with its line', async (t) => {
  const bad = makeLeaf(root, { notAfter: writeDer(TAG.utcTime, Buffer.from('x')), notBefore: Date.now() - DAY });
  const error = failure(() => certificatesFromPem(root.pem + bad.pem, 'ca.pem'));
  t.equal(error.code, 'SL-PEM-004');
  t.match(error.message, new RegExp(`line ${root.pem.split('\n').length} of ca.pem`));
  t.match(error.why, /notAfter/);
});

/** An SPKI of P-256 whose public key is `first` and `size` octets, on the curve or not. */
function point(first: string, size: number): Buffer {
  const algorithm = writeDer(TAG.sequence, writeOid('1.2.840.10045.2.1'), writeOid('1.2.840.10045.3.1.7'));
  const bits = Buffer.concat([Buffer.from(`00${first}`, 'hex'), Buffer.alloc(size, 7)]);
  return writeDer(TAG.sequence, algorithm, writeDer(TAG.bitString, bits));
}
