import { createPublicKey } from 'node:crypto';
import t from 'tap';
import { isSidelockError, type SidelockError } from '../../../src/base/errors.ts';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import { identityFromBundleFile, readIdentity } from '../../../src/pki/material.ts';
import {
  basicConstraints,
  DAY,
  dns,
  ecKeys,
  extension,
  keyPem,
  makeCa,
  makeLeaf,
  makeRoot,
  name,
  nameConstraints,
  OID,
  type Party,
  rsaKeys,
  type Spec,
  subjectAltName,
  toPem,
  uri,
} from '../../support/badcert.ts';

const now = Date.now();
const WEB = 'spiffe://ai-teddy.local/ns/default/sa/web';
const root = makeRoot();
const good = makeLeaf(root);
const files = { cert: '/x/cert.pem', key: '/x/key.pem', ca: '/x/ca.pem' };

t.teardown(() => t.comment('threats 4, rows L: C3 C14 C20 C27 C55 C57 C65 C67 C69 C70 refused as our own credential'));

const textOf = (leaf: Party, ...rest: Party[]) => ({
  cert: [leaf, ...rest].map(({ pem }) => pem).join(''),
  key: keyPem(leaf),
  ca: root.pem,
});

function failure(run: () => unknown): SidelockError {
  try {
    run();
  } catch (error) {
    if (isSidelockError(error)) return error;
    throw error;
  }
  throw new Error('expected a SidelockError');
}

const read = (text: ReturnType<typeof textOf>, context = {}) => readIdentity(text, { now, files, ...context });
const refusal = (text: ReturnType<typeof textOf>, context = {}) => failure(() => read(text, context));
const broken = (spec: Spec) => refusal(textOf(makeLeaf(root, spec)));

t.test('a good set is read into one frozen value', async (t) => {
  const ca = makeCa(root);
  const leaf = makeLeaf(ca);
  const text = textOf(leaf, ca, leaf, root);
  const identity = read({ ...text, cert: `comment\n${text.cert}` }, { expectedId: WEB });
  t.ok(Object.isFrozen(identity));
  t.equal(identity.spiffeId.uri, WEB);
  t.equal(identity.certPem, leaf.pem + ca.pem, 'leaf, intermediates, no duplicate, no root, no text');
  t.equal(identity.chain.length, 1);
  t.equal(identity.keyPem, text.key);
  t.ok(createPublicKey(identity.key).equals(createPublicKey(leaf.key)));
  t.equal(identity.bundle.roots.length, 1);
});

t.test('buffers and an encrypted key are read', async (t) => {
  const passphrase = 'a good one';
  const key = good.key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }).toString();
  const identity = read({ ...textOf(good), key }, { passphrase });
  t.equal(identity.keyPem, keyPem(good));
  t.equal(refusal({ ...textOf(good), key }).code, 'SL-PEM-005');
  const { cert, key: plain, ca } = textOf(good);
  const buffers = { cert: Buffer.from(cert), key: Buffer.from(plain), ca: Buffer.from(ca) };
  t.equal(readIdentity(buffers, { now }).spiffeId.uri, WEB);
});

t.test('error 1: swapped files are told as swapped', async (t) => {
  const { cert, key, ca } = textOf(good);
  const error = refusal({ cert: key, key: cert, ca });
  t.equal(error.code, 'SL-PEM-002');
  t.equal(error.message, 'cannot read the certificate /x/cert.pem');
  t.equal(
    error.why,
    'it holds a PRIVATE KEY block, not a CERTIFICATE, and /x/key.pem holds a CERTIFICATE: they look swapped',
  );
  t.match(refusal({ cert: key, key, ca }).why, /line 1 begins a PRIVATE KEY block, not a CERTIFICATE/);
  t.equal(refusal({ cert, key: cert, ca }).code, 'SL-PEM-002');
});

t.test('error 2: a cut file is named with the line where it ends', async (t) => {
  const { cert, key, ca } = textOf(good);
  const cut = cert.split('\n').slice(0, 5).join('\n');
  for (const [text, file] of [
    [{ cert: cut, key, ca }, '/x/cert.pem'],
    [{ cert, key: key.slice(0, 100), ca }, '/x/key.pem'],
    [{ cert, key, ca: ca.slice(0, 200) }, '/x/ca.pem'],
  ] as const) {
    const error = refusal(text);
    t.equal(error.code, 'SL-PEM-003', file);
    t.match(error.message, file);
  }
  t.match(refusal({ cert: cut, key, ca }).why, /ends at line 5 inside the CERTIFICATE block/);
});

t.test('error 3, C69: a key of another certificate is told with both hashes', async (t) => {
  const other = makeLeaf(root);
  const error = refusal({ ...textOf(good), key: keyPem(other) });
  t.equal(error.code, 'SL-PAIR-001');
  t.equal(error.message, '/x/key.pem does not belong to /x/cert.pem');
  t.match(error.why, /certificate public key sha256 [0-9a-f]{64} \(serial [0-9a-f]+\), key file's [0-9a-f]{64}/);
  const swapped = textOf(good, other);
  t.match(refusal({ ...swapped, key: keyPem(other) }).fix, /put certificate 2 of \/x\/cert.pem first/);
});

t.test('error 6: an expired certificate is told with both times', async (t) => {
  const expired = textOf(makeLeaf(root, { notBefore: now - 9 * DAY, notAfter: now - 11_520_000 }));
  const error = refusal(expired);
  t.equal(error.code, 'SL-CERT-001');
  t.match(error.message, /^certificate of web expired 3 h 12 min ago \(.* UTC, here it is .* UTC\)$/);
  t.equal(read(expired, { allowExpired: true }).spiffeId.uri, WEB, 'but may ask for the next one');
});

t.test('error 9: a certificate from the future is told with both clocks', async (t) => {
  const early = textOf(makeLeaf(root, { notBefore: now + 301_000 }));
  const error = refusal(early);
  t.equal(error.code, 'SL-CLOCK-001');
  t.match(error.message, /valid from .* UTC, our clock says .* UTC$/);
  t.match(error.why, /behind, or the issuer's clock ahead/);
  t.equal(refusal(early, { allowExpired: true }).code, 'SL-CLOCK-001');
});

t.test('a certificate of another service is refused', async (t) => {
  const error = refusal(textOf(good), { expectedId: 'spiffe://ai-teddy.local/ns/default/sa/api' });
  t.equal(error.code, 'SL-CERT-004');
  t.equal(error.why, `it is for ${WEB}, this service is spiffe://ai-teddy.local/ns/default/sa/api`);
});

t.test('a certificate that does not chain to the bundle is refused', async (t) => {
  const ca = makeCa(root);
  t.match(refusal(textOf(makeLeaf(ca))).why, /did not send its intermediate/);
  t.match(refusal(textOf(makeLeaf(makeRoot()))).why, /same name, other key/);
  t.equal(refusal(textOf(makeLeaf(makeRoot()))).code, 'SL-CERT-003');
});

t.test('rows L of threats 4: what we would refuse of a peer we do not show', async (t) => {
  const rows: Array<[string, Spec]> = [
    ['C3', { notBefore: now + DAY, notAfter: now - DAY }],
    ['C14', { extensions: { bc: basicConstraints(true) } }],
    ['C27', { extensions: { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) } }],
    ['C55', { subject: name() }],
    ['C57', { keys: rsaKeys(1024) }],
    ['C57', { keys: ecKeys('secp256k1') }],
    ['C70', { keys: ecKeys('P-256', 'explicit') }],
  ];
  for (const [id, spec] of rows) {
    const error = broken(spec);
    t.match(error.code, /^SL-(CERT-002|KEY-001)$/, id);
    t.match(error.why ?? error.message, /\S/, `${id}: ${error.why}`);
  }
  t.equal(broken({ serial: Buffer.from([0, 0, 1]) }).code, 'SL-PEM-004', 'C65');
  t.equal(
    refusal({ ...textOf(good), cert: toPem(Buffer.concat([good.der, Buffer.from([0])])) }).code,
    'SL-PEM-004',
    'C67',
  );
  const oneRole = broken({ extensions: { eku: undefined } });
  t.equal(oneRole.code, 'SL-CERT-002');
  const san = subjectAltName(uri(WEB), dns('*.ai-teddy.local'));
  t.match(broken({ extensions: { san } }).why, /wildcard/);
  for (const spec of [
    { extensions: { bc: basicConstraints(true, undefined, false) } },
    { extensions: { ku: undefined } },
  ]) {
    const ca = makeCa(root, spec);
    t.equal(refusal(textOf(makeLeaf(ca), ca)).code, 'SL-CERT-002', 'C20');
  }
});

t.test('C55 an empty subject is fine when the names are critical', async (t) => {
  const san = extension(OID.san, writeDer(TAG.sequence, uri(WEB)), true);
  t.equal(read(textOf(makeLeaf(root, { subject: name(), extensions: { san } }))).spiffeId.uri, WEB);
});

t.test('C55 an issuer without a name is refused as ours', async (t) => {
  const nameless = makeRoot({ subject: name() });
  const error = refusal({ ...textOf(makeLeaf(nameless)), ca: nameless.pem });
  t.equal(error.code, 'SL-CERT-002');
  t.match(error.why, /empty name/);
});

t.test('a single file of key and chain is read in any order', async (t) => {
  const ca = makeCa(root);
  const leaf = makeLeaf(ca);
  for (const bundle of [keyPem(leaf) + leaf.pem + ca.pem, leaf.pem + ca.pem + keyPem(leaf)]) {
    const identity = identityFromBundleFile({ bundle, ca: root.pem }, { now });
    t.equal(identity.certPem, leaf.pem + ca.pem);
  }
  const missing = failure(() => identityFromBundleFile({ bundle: leaf.pem, ca: root.pem }, { now }));
  t.equal(missing.code, 'SL-PEM-002');
  t.match(missing.why, /a PRIVATE KEY is missing/);
});
