import t from 'tap';
import { isSidelockError, type SidelockError } from '../../../src/base/errors.ts';
import { parseBundle } from '../../../src/pki/bundle.ts';
import {
  basicConstraints,
  DAY,
  extension,
  keyPem,
  keyUsage,
  makeCa,
  makeRoot,
  name,
  noExtensions,
  type Party,
  rsaKeys,
  rsaWith,
  type Spec,
} from '../../support/badcert.ts';

const now = Date.now();
const root = makeRoot();
const pems = (...parties: Party[]) => parties.map(({ pem }) => pem).join('');

t.teardown(() => t.comment('threats 4.2, trust bundle: 4 rows (C35 C36 C37 C38)'));

function failure(pem: string): SidelockError {
  try {
    parseBundle(pem, 'ca.pem', now);
  } catch (error) {
    if (isSidelockError(error)) return error;
    throw error;
  }
  throw new Error('expected a SidelockError');
}

function unfit(spec: Spec): string {
  const error = failure(pems(root, makeRoot({ subject: name('Odd'), ...spec })));
  if (error.code !== 'SL-BUNDLE-002') throw error;
  if (error.message !== 'ca.pem holds a certificate that cannot be a root: CN=Odd') throw error;
  return error.why ?? '';
}

t.test('a bundle is its distinct roots', async (t) => {
  const second = makeRoot({ subject: name('AI-Teddy-CA (2)') });
  const bundle = parseBundle(`some text\n${pems(root, second, root)}`, 'ca.pem', now);
  t.same(
    bundle.roots.map(({ subject }) => subject),
    ['CN=AI-Teddy-CA', 'CN=AI-Teddy-CA (2)'],
  );
  t.equal(bundle.pem, pems(root, second), 'written anew, without text and duplicates');
  t.same(bundle.keyIds, [root.keyId.toString('hex'), second.keyId.toString('hex')]);
  t.equal(bundle.sha256, parseBundle(pems(second, root), 'x', now).sha256, 'the order does not matter');
  t.not(bundle.sha256, parseBundle(pems(root), 'x', now).sha256);
});

t.test('an empty bundle is refused', async (t) => {
  for (const text of ['', '\n \n']) t.equal(failure(text).code, 'SL-BUNDLE-001');
  t.equal(failure('hello').code, 'SL-PEM-001');
});

t.test('C35 a leaf in the bundle is refused', async (t) => {
  t.match(unfit({ extensions: { bc: basicConstraints(false) } }), /CA:FALSE/);
});

t.test('C36 an intermediate in the bundle is refused', async (t) => {
  const error = failure(pems(makeCa(root, { subject: name('Issuing') })));
  t.equal(error.code, 'SL-BUNDLE-002');
  t.match(error.why, /issued by CN=AI-Teddy-CA: an intermediate belongs into cert.pem/);
});

t.test('C37 unfit roots are refused, a SHA-1 self-signature is not', async (t) => {
  t.match(unfit({ extensions: noExtensions }), /no basicConstraints/);
  t.match(unfit({ extensions: { bc: undefined } }), /no basicConstraints/);
  t.match(unfit({ version: 0, extensions: noExtensions }), /v1/);
  t.match(unfit({ extensions: { ku: keyUsage('cRLSign') } }), /without keyCertSign/);
  t.match(unfit({ keys: rsaKeys(1024) }), /RSA 1024/);
  t.match(unfit({ extensions: { odd: extension('1.2.3.4', Buffer.from([5, 0]), true) } }), /1\.2\.3\.4/);
  t.match(
    unfit({ signature: (good) => Buffer.concat([good.subarray(0, -1), Buffer.from([(good.at(-1) ?? 0) ^ 1])]) }),
    /does not verify/,
  );
  const sha1 = makeRoot({ keys: rsaKeys(2048), algorithm: rsaWith('sha1') });
  t.equal(parseBundle(sha1.pem, 'ca.pem', now).roots.length, 1);
  const bare = makeRoot({ extensions: { ku: undefined } });
  t.equal(parseBundle(bare.pem, 'ca.pem', now).roots.length, 1, 'no KU allows everything (RFC 5280 4.2.1.3)');
});

t.test('C37 expired roots are refused only when no other is in date', async (t) => {
  const old = makeRoot({ subject: name('Old'), notBefore: now - 9 * DAY, notAfter: now - DAY });
  const early = makeRoot({ subject: name('Early'), notBefore: now + DAY });
  t.equal(parseBundle(pems(old, root), 'ca.pem', now).roots.length, 2);
  t.match(failure(pems(old)).why, /expired .* UTC, and no other root is in date/);
  t.match(failure(pems(early)).why, /valid from .* UTC, here it is .* UTC/);
});

t.test('the first and the last second of a root count', async (t) => {
  const [notBefore, notAfter] = [1_800_000_000_000, 1_800_000_600_000];
  const { pem } = makeRoot({ notBefore, notAfter });
  for (const moment of [notBefore, notAfter]) t.equal(parseBundle(pem, 'ca.pem', moment).roots.length, 1);
  for (const moment of [notBefore - 1, notAfter + 1]) t.throws(() => parseBundle(pem, 'ca.pem', moment));
});

t.test('C38 one bad block refuses the set', async (t) => {
  const bad = root.pem.replace(/[A-Za-z0-9]{8}\n/, 'AAAAAAAA\n');
  const error = failure(pems(root) + bad + pems(makeRoot()));
  t.equal(error.code, 'SL-PEM-004');
  t.match(error.message, /line \d+/);
  t.equal(failure(pems(root) + keyPem(root)).code, 'SL-PEM-002');
});
