import t from 'tap';
import { CA_FINDINGS, type CaFindingCode } from '../../../src/pki/ca-findings.ts';
import { examineCa } from '../../../src/pki/ca-fitness.ts';
import { parseCertificate } from '../../../src/pki/certificate.ts';
import {
  basicConstraints,
  DAY,
  dns,
  extension,
  extKeyUsage,
  keyUsage,
  makeCa,
  makeLeaf,
  makeRoot,
  name,
  nameConstraints,
  noExtensions,
  type Party,
  PURPOSE,
  rsaKeys,
  rsaWith,
  TRUST_DOMAIN,
  uri,
} from '../../support/badcert.ts';

type Terms = Parameters<typeof examineCa>[1];

const now = Date.now();
const seen = new Set<CaFindingCode>();

async function examine(own: Party, above: readonly Party[] = [], terms: Partial<Terms> = {}, key = own.key) {
  const certificates = [own, ...above].map(({ der }) => parseCertificate(der));
  const examined = await examineCa(
    { certificates, key },
    {
      ...{ now, trustDomain: TRUST_DOMAIN, dnsDomains: [], leafMs: 90 * DAY, tier: false, known: [] },
      sample: {
        spiffeId: `spiffe://${TRUST_DOMAIN}/ns/default/sa/orders`,
        sans: ['orders', `orders.${TRUST_DOMAIN}`, 'orders.default.svc'].map((value) => ({ type: 'dns', value })),
      },
      ...terms,
    },
  );
  const codes = examined.findings.map(({ code }) => code);
  for (const code of codes) seen.add(code);
  return { ...examined, codes };
}

const root = makeRoot();
const rsa = rsaKeys(2048);

t.test('a CA that is well made is taken: a root, an intermediate, one of two above it', async (t) => {
  const alone = await examine(root);
  t.same(alone.codes, []);
  t.match(
    alone.leaf?.sans?.map(({ value }) => value),
    ['spiffe://ai-teddy.local/ns/default/sa/orders', 'orders'],
  );
  const middle = makeCa(root, { subject: name('Middle') });
  const issuing = makeCa(middle, { subject: name('Issuing'), extensions: { bc: basicConstraints(true, 0) } });
  const chained = await examine(issuing, [middle, root]);
  t.same(chained.codes, []);
  t.same(
    chained.path.map(({ subject }) => subject),
    ['CN=Issuing', 'CN=Middle', 'CN=AI-Teddy-CA'],
  );
  t.same((await examine(root, [], { tier: true })).codes, [], 'and an issuer of ours under it');
  const narrow = makeCa(root, {
    extensions: {
      nc: nameConstraints({ permitted: [uri(TRUST_DOMAIN), dns(TRUST_DOMAIN), dns('svc')] }),
      bc: basicConstraints(true, 0),
    },
  });
  const constrained = await examine(narrow, [root]);
  t.same(constrained.codes, [], 'one that is held to our names');
  t.notOk(
    constrained.leaf?.sans?.some(({ value }) => value === 'orders'),
    'which leaves out names of one label',
  );
});

t.test('each fault has its code, the values found and a way out', async (t) => {
  const ca = (spec: Parameters<typeof makeCa>[1], issuer = root) => makeCa(issuer, spec);
  const rows: ReadonlyArray<readonly [what: string, codes: readonly CaFindingCode[], ...Parameters<typeof examine>]> = [
    ['key of another', ['key_mismatch'], root, [], {}, makeRoot().key],
    ['a leaf instead of a CA (istio#27605)', ['not_a_ca'], makeLeaf(root), [root]],
    ['may not sign certificates (istio#27800)', ['not_a_ca'], ca({ extensions: { ku: keyUsage('cRLSign') } }), [root]],
    ['may not sign lists', ['cannot_sign_crls'], ca({ extensions: { ku: keyUsage('keyCertSign') } }), [root]],
    ['X.509 v1', ['version_1'], makeRoot({ version: 0, extensions: noExtensions })],
    ['not critical', ['not_critical'], ca({ extensions: { bc: basicConstraints(true, 0, false) } }), [root]],
    ['no key usage', ['not_critical'], ca({ extensions: { ku: undefined } }), [root]],
    ['no SKI', ['missing_key_id'], makeRoot({ extensions: { ski: undefined } })],
    ['no AKI', ['missing_key_id'], ca({ extensions: { aki: undefined } }), [root]],
    [
      'no room for an issuer of ours',
      ['path_length'],
      makeRoot({ extensions: { bc: basicConstraints(true, 0) } }),
      [],
      { tier: true },
    ],
    ['no room for devices', ['no_room_for_devices'], makeRoot({ extensions: { bc: basicConstraints(true, 0) } })],
    ['expired', ['expired'], makeRoot({ notAfter: now - DAY })],
    ['not yet valid', ['not_yet_valid'], makeRoot({ notBefore: now + DAY })],
    ['ends within 90 days', ['too_short'], makeRoot({ notAfter: now + 30 * DAY })],
    ['ends within the year', ['short_lived'], makeRoot({ notAfter: now + 200 * DAY })],
    ['RSA 1024', ['weak_key'], makeRoot({ keys: rsaKeys(1024) })],
    ['RSA e=3', ['weak_key'], makeRoot({ keys: rsaKeys(2048, 3) })],
    ['SHA-1', ['weak_signature'], ca({ algorithm: rsaWith('sha1') }, makeRoot({ keys: rsa })), []],
    ['other purposes', ['wrong_usage'], ca({ extensions: { eku: extKeyUsage(PURPOSE.codeSigning) } }), [root]],
    [
      'an extension nobody knows',
      ['unknown_extension'],
      ca({ extensions: { odd: extension('1.2.3.4', Buffer.from([5, 0]), true) } }),
      [root],
    ],
    [
      'held to other DNS names',
      ['name_constraints'],
      ca({ extensions: { nc: nameConstraints({ permitted: [dns('acme.example')] }) } }),
      [root],
    ],
    [
      'held to another trust domain',
      ['name_constraints'],
      ca({ extensions: { nc: nameConstraints({ permitted: [uri('acme.example')] }) } }),
      [root],
    ],
    ['its issuer is missing', ['chain_incomplete'], ca({}), []],
    ['a namesake in place of its issuer', ['chain_broken'], ca({}), [makeRoot()]],
    ['a stranger besides', ['unrelated_certificate'], root, [makeRoot({ subject: name('Other') })]],
    ['here already', ['known_already'], root, [], { known: [parseCertificate(root.der)] }],
    ['same name, other key (C31)', ['same_name'], root, [], { known: [parseCertificate(makeRoot().der)] }],
    ['negative serial', ['refused_by_peers'], ca({ serial: Buffer.from([0x80, 1]) }), [root]],
  ];
  for (const [what, codes, ...given] of rows) {
    const found = await examine(...given);
    // What breaks more than one rule says the first of them.
    t.ok(
      codes.every((code) => found.codes.includes(code)),
      `${what}: ${found.codes.join(', ')}`,
    );
    const fatal = codes.some((code) => CA_FINDINGS[code].level === 'error');
    t.equal(found.leaf === undefined, fatal, `${what}: ${fatal ? 'not taken' : 'taken'}`);
    t.notOk(found.findings.some(({ what: said, fix }) => said === '' || fix === ''));
  }
});

t.test('in the wrong order it is taken in the right one', async (t) => {
  const issuing = makeCa(root, { subject: name('Issuing') });
  const found = await examine(root, [issuing], {}, issuing.key);
  t.same(found.codes, ['wrong_order']);
  t.same(
    found.path.map(({ subject }) => subject),
    ['CN=Issuing', 'CN=AI-Teddy-CA'],
  );
  t.ok(found.leaf);
});

t.test('every code of the list was seen', async (t) => t.same([...seen].sort(), Object.keys(CA_FINDINGS).sort()));
