import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import { verifyPeer } from '../../../src/pki/peer.ts';
import {
  ecdsaWith,
  ecKeys,
  extension,
  makeCa,
  makeLeaf,
  makeRoot,
  type Party,
  rsaKeys,
  rsaPss,
  rsaSpki,
  rsaWith,
  type Spec,
  TRUST_DOMAIN,
} from '../../support/badcert.ts';
import { writeOid } from '../../support/oid.ts';
import { peerRows } from '../../support/peer-rows.ts';

const { row, refuses, accepts } = peerRows(t, '4.4 keys, signatures, encoding');
const root = makeRoot();
const roots = [root];
const rsaPair = rsaKeys(2048);
const rsaRoot = makeRoot({ keys: rsaPair });
const leaf = (spec: Spec) => ({ chain: [makeLeaf(root, spec)], roots });
const rsaLeaf = (spec: Spec) => ({ chain: [makeLeaf(rsaRoot, spec)], roots: [rsaRoot] });
const raw = (party: Party, change: (der: Buffer) => Buffer) => ({
  chain: [{ ...party, der: change(party.der) }],
  roots,
});

row('C58', 'RSA-1024', (t) => {
  refuses(t, 'leaf', 'weak_key', leaf({ keys: rsaKeys(1024) }), /RSA 1024/);
  const ca = makeCa(root, { keys: rsaKeys(1024) });
  refuses(t, 'intermediate', 'weak_key', { chain: [makeLeaf(ca), ca], roots }, /issuer CN=.* RSA 1024/);
});

row('C59', 'curves and kinds that are not allowed', (t) => {
  for (const curve of ['prime192v1', 'secp224r1', 'secp256k1']) {
    refuses(t, curve, 'weak_key', leaf({ keys: ecKeys(curve) }), /EC (P-192|P-224|secp256k1)/);
  }
  refuses(
    t,
    'DSA',
    'weak_key',
    leaf({ keys: generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }) }),
  );
});

row('C60', 'keys that OpenSSL accepts and we do not', (t) => {
  refuses(t, 'RSA e=3', 'weak_key', leaf({ keys: rsaKeys(2048, 3) }), /e=0x03/);
  refuses(t, 'RSA-8192', 'weak_key', leaf({ spki: rsaSpki(8192) }), /RSA 8192/);
  refuses(t, 'RSA-2560', 'weak_key', leaf({ spki: rsaSpki(2560) }));
  refuses(t, 'Ed448', 'weak_key', leaf({ keys: generateKeyPairSync('ed448', {}) }));
  refuses(t, 'ML-DSA-44', 'weak_key', leaf({ keys: generateKeyPairSync('ml-dsa-44', {}) }));
  const pss = generateKeyPairSync('rsa-pss', {
    modulusLength: 2048,
    hashAlgorithm: 'sha256',
    mgf1HashAlgorithm: 'sha256',
  });
  refuses(t, 'RSA-PSS key', 'weak_key', leaf({ keys: pss }));
});

row('C61', 'keys and signatures that are fine', (t) => {
  accepts(t, 'Ed25519', leaf({ keys: generateKeyPairSync('ed25519', {}) }));
  accepts(t, 'P-384', leaf({ keys: ecKeys('P-384') }));
  accepts(t, 'RSA-2048', leaf({ keys: rsaPair }));
  refuses(t, 'P-521 is in no profile', 'weak_key', leaf({ keys: ecKeys('P-521') }), /P-521/);
  accepts(t, 'PSS by the CA', rsaLeaf({ algorithm: rsaPss() }));
  accepts(t, 'SHA-384 by the CA', rsaLeaf({ algorithm: rsaWith('sha384') }));
  const ed = makeRoot({ keys: generateKeyPairSync('ed25519', {}) });
  accepts(t, 'Ed25519 by the CA', { chain: [makeLeaf(ed)], roots: [ed] });
});

row('C62', 'weak digests', (t) => {
  refuses(t, 'RSA SHA-1', 'weak_signature', rsaLeaf({ algorithm: rsaWith('sha1') }), /sha1WithRSAEncryption/);
  refuses(t, 'RSA MD5', 'weak_signature', rsaLeaf({ algorithm: rsaWith('md5') }), /md5/);
  refuses(t, 'ECDSA SHA-1', 'weak_signature', leaf({ algorithm: ecdsaWith('sha1') }));
  const ca = makeCa(rsaRoot, { algorithm: rsaWith('sha1') });
  refuses(t, 'on the intermediate', 'weak_signature', { chain: [makeLeaf(ca), ca], roots: [rsaRoot] }, /issuer CN=/);
  const bare = { identifier: writeDer(TAG.sequence, writeOid('1.2.840.113549.1.1.10'), writeDer(TAG.sequence)) };
  refuses(
    t,
    'PSS with its default, SHA-1',
    'weak_signature',
    rsaLeaf({ algorithm: { ...rsaPss(), ...bare } }),
    /rsassaPss-SHA1/,
  );
});

row('C63', 'bad signatures', (t) => {
  refuses(t, 'a bit flipped', 'bad_signature', leaf({ signature: flipLast }), /altered/);
  const ca = makeCa(root, { signature: flipLast });
  refuses(t, 'on the intermediate', 'bad_signature', { chain: [makeLeaf(ca), ca], roots }, /did not sign the issuer/);
  refuses(
    t,
    'inner and outer algorithm differ',
    'malformed',
    leaf({ innerAlgorithm: ecdsaWith('sha384').identifier }),
    /differs/,
  );
  refuses(t, 'signed by another key', 'bad_signature', {
    chain: [makeLeaf({ ...root, key: ecKeys().privateKey })],
    roots,
  });
});

row('C64', 'serial numbers', (t) => {
  refuses(t, '0', 'bad_serial', leaf({ serial: Buffer.from([0]) }));
  refuses(t, 'negative', 'bad_serial', leaf({ serial: Buffer.from([0x80]) }));
  refuses(t, '40 octets', 'bad_serial', leaf({ serial: Buffer.alloc(40, 0x11) }), /40 octets/);
  refuses(t, '21 octets, of them a sign', 'bad_serial', leaf({ serial: Buffer.from(`00${'ff'.repeat(20)}`, 'hex') }));
  accepts(t, '20 octets', leaf({ serial: Buffer.alloc(20, 0x7f) }));
  accepts(t, '1', leaf({ serial: Buffer.from([1]) }));
});

row('C65', 'serial that is not minimal', (t) => {
  refuses(t, '00 00 01', 'malformed', leaf({ serial: Buffer.from([0, 0, 1]) }), /padding/);
});

row('C66', 'critical extension that nobody knows', (t) => {
  const odd = extension('1.2.3.4', Buffer.from([5, 0]), true);
  refuses(t, 'leaf', 'unknown_critical_extension', leaf({ extensions: { odd } }), /1\.2\.3\.4/);
  const ca = makeCa(root, { extensions: { odd } });
  refuses(t, 'intermediate', 'unknown_critical_extension', { chain: [makeLeaf(ca), ca], roots }, /issuer CN=/);
  const policy = extension('2.5.29.36', Buffer.from([0x30, 3, 0x80, 1, 0]), true);
  const strict = makeCa(root, { extensions: { policy } });
  refuses(t, 'policyConstraints are not processed', 'unknown_critical_extension', {
    chain: [makeLeaf(strict), strict],
    roots,
  });
});

row('C67', 'bytes after the certificate', (t) => {
  refuses(
    t,
    'one',
    'malformed',
    raw(makeLeaf(root), (der) => Buffer.concat([der, Buffer.from([0])])),
    /1 bytes follow/,
  );
  refuses(
    t,
    'cut',
    'malformed',
    raw(makeLeaf(root), (der) => der.subarray(0, -1)),
  );
  refuses(
    t,
    'PEM for DER',
    'malformed',
    raw(makeLeaf(root), () => Buffer.from(root.pem)),
  );
  refuses(
    t,
    'nothing',
    'malformed',
    raw(makeLeaf(root), () => Buffer.alloc(0)),
  );
});

row('C68', 'big certificates', (t) => {
  const padded = (size: number) => ({ extensions: { pad: extension('1.2.3.4', Buffer.alloc(size)) } });
  refuses(t, '100 KB', 'too_large', leaf(padded(100_000)), /8192/);
  refuses(t, '1 MB', 'too_large', leaf(padded(1_000_000)));
  accepts(t, '7 KB', leaf(padded(7_000)));
  refuses(t, '9 KB', 'too_large', leaf(padded(9_000)));
  const roomy = makeCa(root, padded(9_000));
  accepts(t, 'intermediate of 9 KB', { chain: [makeLeaf(roomy), roomy], roots });
  const ca = makeCa(root, padded(17_000));
  refuses(t, 'intermediate of 17 KB', 'too_large', { chain: [makeLeaf(ca), ca], roots }, /certificate 2/);
});

row('C70', 'explicit curve parameters', (t) => {
  refuses(t, 'leaf', 'weak_key', leaf({ keys: ecKeys('P-256', 'explicit') }), /explicit parameters/);
  const ca = makeCa(root, { keys: ecKeys('P-384', 'explicit') });
  refuses(t, 'intermediate', 'weak_key', { chain: [makeLeaf(ca), ca], roots }, /issuer CN=.*explicit/);
});

t.test('C86 no certificate', async (t) => {
  const bundle = parseBundle(root.pem, 'ca.pem', Date.now());
  const verdict = verifyPeer({ chain: [], bundle, now: Date.now(), purpose: 'client', trustDomain: TRUST_DOMAIN });
  t.match(verdict, { ok: false, reason: 'no_certificate' });
});

function flipLast(good: Buffer): Buffer {
  const bad = Buffer.from(good);
  bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
  return bad;
}
