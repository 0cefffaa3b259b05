import t from 'tap';
import { writeDer } from '../../../src/pki/der.ts';
import {
  basicConstraints,
  DAY,
  dns,
  ecKeys,
  email,
  extension,
  extKeyUsage,
  ip,
  keyUsage,
  makeCa,
  makeLeaf,
  makeRoot,
  name,
  nameConstraints,
  noExtensions,
  OID,
  type Party,
  PURPOSE,
  type Spec,
  subjectAltName,
  uri,
} from '../../support/badcert.ts';
import { peerRows } from '../../support/peer-rows.ts';

const { row, refuses, accepts } = peerRows(t, '4.2 chain');
const root = makeRoot();
const roots = [root];
const now = Date.now();
const WEB = uri('spiffe://ai-teddy.local/ns/default/sa/web');

/** Leaf and intermediate under the root, the intermediate as given. */
function under(spec: Spec, leafSpec: Spec = {}) {
  const ca = makeCa(root, spec);
  return { chain: [makeLeaf(ca, leafSpec), ca], roots };
}

/** A leaf below `count` intermediates, in the order they are sent. */
function deep(count: number): Party[] {
  const cas: Party[] = [];
  for (let i = 0; i < count; i++) cas.unshift(makeCa(cas[0] ?? root));
  return [makeLeaf(cas[0] ?? root), ...cas];
}

row('C18', 'leaf signed by another leaf', (t) => {
  const other = makeLeaf(root);
  refuses(t, 'leaf', 'issuer_not_ca', { chain: [makeLeaf(other), other], roots }, /CA:FALSE/);
});

row('C19', 'intermediate that may not issue', (t) => {
  refuses(t, 'no basicConstraints', 'issuer_not_ca', under({ extensions: { bc: undefined } }), /no basicConstraints/);
  refuses(t, 'CA:FALSE', 'issuer_not_ca', under({ extensions: { bc: basicConstraints(false) } }));
  refuses(t, 'v1', 'issuer_not_ca', under({ version: 0, extensions: noExtensions }));
  const ku = keyUsage('digitalSignature', 'cRLSign');
  refuses(t, 'KU without certSign', 'issuer_not_ca', under({ extensions: { ku } }), /without keyCertSign/);
});

row('C20', 'intermediate that is only untidy', (t) => {
  accepts(t, 'basicConstraints not critical', under({ extensions: { bc: basicConstraints(true, undefined, false) } }));
  accepts(t, 'without KU', under({ extensions: { ku: undefined } }));
});

row('C21', 'path length', (t) => {
  const outer = makeCa(root, { extensions: { bc: basicConstraints(true, 0) } });
  const inner = makeCa(outer);
  refuses(
    t,
    'pathlen 0 and one more',
    'path_length',
    { chain: [makeLeaf(inner), inner, outer], roots },
    /allows 0 .* has 1/,
  );
  accepts(t, 'pathlen 0 and a leaf', { chain: [makeLeaf(outer), outer], roots });
  const limited = makeRoot({ extensions: { bc: basicConstraints(true, 0) } });
  const ca = makeCa(limited);
  refuses(t, 'pathlen of the root', 'path_length', { chain: [makeLeaf(ca), ca], roots: [limited] });
});

row('C22', 'intermediate out of date or for another trade', (t) => {
  const dates = { notBefore: now - 9 * DAY, notAfter: now - DAY };
  refuses(t, 'expired', 'issuer_expired', under(dates), /issuer CN=.* expired 1 d ago/);
  refuses(t, 'not yet valid', 'not_yet_valid', under({ notBefore: now + DAY }), /issuer CN=/);
  refuses(t, 'codeSigning', 'issuer_wrong_eku', under({ extensions: { eku: extKeyUsage(PURPOSE.codeSigning) } }));
  const eku = extKeyUsage(PURPOSE.client);
  refuses(t, 'clientAuth for a server', 'issuer_wrong_eku', {
    ...under({ extensions: { eku } }),
    purposes: ['server'],
  });
  accepts(t, 'clientAuth for a client', { ...under({ extensions: { eku } }), purposes: ['client'] });
  accepts(t, 'any', under({ extensions: { eku: extKeyUsage(PURPOSE.any) } }));
});

row('C23', 'permitted DNS violated', (t) => {
  const permitted = [dns('other.example')];
  refuses(
    t,
    'critical',
    'name_constraints',
    under({ extensions: { nc: nameConstraints({ permitted }) } }),
    /dns:web\./,
  );
  refuses(t, 'not critical', 'name_constraints', under({ extensions: { nc: nameConstraints({ permitted }, false) } }));
  accepts(t, 'kept', under({ extensions: { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) } }));
  const outer = makeCa(root, { extensions: { nc: nameConstraints({ permitted }) } });
  const inner = makeCa(outer);
  refuses(t, 'two above', 'name_constraints', { chain: [makeLeaf(inner), inner, outer], roots });
  const bound = makeRoot({ extensions: { nc: nameConstraints({ permitted }) } });
  refuses(t, 'of the root', 'name_constraints', { chain: [makeLeaf(bound)], roots: [bound] });
});

row('C24', 'URI constraints', (t) => {
  const constrained = (subtrees: Parameters<typeof nameConstraints>[0]) =>
    under({ extensions: { nc: nameConstraints(subtrees) } });
  accepts(t, 'permitted host', constrained({ permitted: [uri('ai-teddy.local')] }));
  refuses(t, 'another host', 'name_constraints', constrained({ permitted: [uri('other.example')] }));
  refuses(t, 'excluded', 'name_constraints', constrained({ excluded: [uri('ai-teddy.local')] }));
  refuses(t, 'with a leading dot', 'name_constraints', constrained({ permitted: [uri('.ai-teddy.local')] }));
  accepts(t, 'excluded domain below', constrained({ excluded: [uri('.ai-teddy.local')] }));
});

row('C25', 'DNS constraints do not bind URIs', (t) => {
  const extensions = { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) };
  const san = subjectAltName(uri('spiffe://evil/x'));
  refuses(
    t,
    'only a URI',
    'other_trust_domain',
    under({ extensions }, { extensions: { san } }),
    /evil, ours is ai-teddy.local/,
  );
});

row('C26', 'constraints and no SAN', (t) => {
  const extensions = { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) };
  refuses(t, 'CN', 'no_san', under({ extensions }, { subject: name('evil.example'), extensions: { san: undefined } }));
});

row('C27', 'constraints that are out of place or say nothing', (t) => {
  const nc = nameConstraints({ permitted: [dns('ai-teddy.local')] });
  refuses(t, 'in a leaf', 'name_constraints', { chain: [makeLeaf(root, { extensions: { nc } })], roots });
  const broken = (...parts: Parameters<typeof nameConstraints>) =>
    under({ extensions: { nc: nameConstraints(...parts) } });
  refuses(t, 'empty', 'name_constraints', broken({}));
  refuses(t, 'empty list', 'name_constraints', broken({ permitted: [] }));
  refuses(t, 'DNS with a leading dot', 'name_constraints', broken({ permitted: [dns('.ai-teddy.local')] }));
  refuses(t, 'IP without a mask', 'name_constraints', broken({ excluded: [ip(10, 0, 0, 0)] }));
  refuses(
    t,
    'garbage',
    'name_constraints',
    under({ extensions: { nc: extension(OID.nc, Buffer.from([0x04, 0x00])) } }),
  );
  const named = (...names: Buffer[]) => ({ extensions: { san: subjectAltName(WEB, ...names) } });
  const nothing = (excluded: Buffer) => ({ extensions: { nc: nameConstraints({ excluded: [excluded] }) } });
  refuses(t, 'excluded IP', 'name_constraints', under(nothing(ip(10, 0, 0, 0, 255, 0, 0, 0)), named(ip(10, 1, 2, 3))));
  accepts(t, 'another IP', under(nothing(ip(10, 0, 0, 0, 255, 0, 0, 0)), named(ip(11, 1, 2, 3))));
  refuses(
    t,
    'every IPv6',
    'name_constraints',
    under(nothing(ip(...Array(32).fill(0))), named(ip(...Array(16).fill(1)))),
  );
  refuses(t, 'every DNS name', 'name_constraints', under(nothing(dns('')), named(dns('a'))));
  refuses(t, 'mail', 'name_constraints', under(nothing(email('.example')), named(email('a@b.example'))));
  refuses(t, 'mail of one host', 'name_constraints', under(nothing(email('b.example')), named(email('a@B.example'))));
  accepts(t, 'mail of a host below', under(nothing(email('example')), named(email('a@b.example'))));
});

row('C28', 'what a peer may send besides', (t) => {
  const chain = deep(3);
  const [leaf, ...cas] = chain as [Party, ...Party[]];
  accepts(t, 'out of order', { chain: [leaf, ...cas.toReversed()], roots });
  accepts(t, 'with the root', { chain: [...chain, root], roots });
  accepts(t, 'the leaf twice', { chain: [leaf, leaf, ...cas], roots });
  accepts(t, 'strangers', { chain: [leaf, makeRoot(), ...cas, makeLeaf(root)], roots });
});

row('C29', 'intermediate missing', (t) => {
  const [leaf, inner, outer] = deep(2) as [Party, Party, Party];
  refuses(t, 'all', 'chain_incomplete', { chain: [leaf], roots }, /did not send its intermediate/);
  refuses(t, 'the outer', 'chain_incomplete', { chain: [leaf, inner], roots });
  refuses(t, 'the inner', 'chain_incomplete', { chain: [leaf, outer], roots });
});

row('C30', 'depth', (t) => {
  accepts(t, '5 intermediates', { chain: deep(5), roots });
  refuses(t, '6 intermediates', 'chain_too_long', { chain: deep(6), roots }, /more than 5 intermediates/);
  refuses(t, '20 intermediates', 'chain_too_long', { chain: deep(20), roots });
  refuses(t, '99 intermediates', 'chain_too_long', { chain: deep(99), roots });
  const strangers = (count: number) => Array.from({ length: count }, () => makeLeaf(root));
  accepts(t, '16 sent', { chain: strangers(16), roots });
  refuses(t, '17 sent', 'chain_too_long', { chain: strangers(17), roots }, /sent 17 certificates or more/);
});

row('C31', 'rollover root of the same name', (t) => {
  const bare = { extensions: { ski: undefined, aki: undefined } };
  const [old, next] = [makeRoot(bare), makeRoot(bare)];
  accepts(t, 'no key identifiers, old first', { chain: [makeLeaf(next, bare)], roots: [old, next] });
  accepts(t, 'no key identifiers, new first', { chain: [makeLeaf(old, bare)], roots: [next, old] });
  const [a, b] = [makeRoot(), makeRoot()];
  accepts(t, 'with key identifiers', { chain: [makeLeaf(b)], roots: [a, b] });
});

row('C32', "our root's name, another key", (t) => {
  const fake = makeRoot();
  refuses(t, 'alone', 'unknown_ca', { chain: [makeLeaf(fake)], roots }, /same name, other key/);
  refuses(t, 'with its root', 'unknown_ca', { chain: [makeLeaf(fake), fake], roots });
  const bare = { extensions: { ski: undefined, aki: undefined } };
  const nameless = makeRoot(bare);
  refuses(
    t,
    'without key identifiers',
    'bad_signature',
    { chain: [makeLeaf(nameless, bare)], roots },
    /another CA of that name/,
  );
  refuses(t, 'without, with its root', 'unknown_ca', { chain: [makeLeaf(nameless, bare), nameless], roots });
  const alien = makeRoot({ subject: name('Alien') });
  refuses(t, 'another name, with its root', 'unknown_ca', { chain: [makeLeaf(alien), alien], roots }, /CN=Alien/);
  refuses(t, 'another name, alone', 'chain_incomplete', { chain: [makeLeaf(alien)], roots }, /or its CA is unknown/);
});

row('C33', 'new root signed by the old', (t) => {
  const keys = ecKeys();
  const next = makeRoot({ subject: name('AI-Teddy-CA (2)'), keys });
  const cross = makeCa(root, { subject: name('AI-Teddy-CA (2)'), keys });
  const chain = [makeLeaf(next), cross];
  accepts(t, 'who knows the old root', { chain, roots });
  accepts(t, 'who knows both', { chain, roots: [root, next] });
  accepts(t, 'who knows the new root', { chain, roots: [next] });
});

row('C34', 'self-signed leaf', (t) => {
  const own = makeRoot({
    subject: name('web'),
    extensions: {
      bc: basicConstraints(false),
      ku: keyUsage('digitalSignature'),
      eku: extKeyUsage(PURPOSE.client),
      san: subjectAltName(WEB),
    },
  });
  refuses(t, 'leaf', 'self_signed', { chain: [own], roots }, /CN=web is self-signed/);
  refuses(t, 'as openssl req -x509 makes it', 'self_signed', {
    chain: [makeRoot({ subject: name('localhost') })],
    roots,
  });
});

t.test(
  'name constraints bind intermediates and leaves, self-issued intermediates not (RFC 5280 4.2.1.10)',
  async (t) => {
    const nc = nameConstraints({ permitted: [writeDer(0xa4, name('web'))] });
    const bound = makeRoot({ extensions: { nc } });
    const renewed = makeCa(bound, { subject: name('AI-Teddy-CA') });
    const other = makeCa(bound, { subject: name('Other') });
    accepts(t, 'self-issued intermediate', { chain: [makeLeaf(renewed), renewed], roots: [bound] });
    refuses(t, 'intermediate', 'name_constraints', { chain: [makeLeaf(other), other], roots: [bound] }, /its subject/);
    const leaf = makeLeaf(bound, { subject: name('AI-Teddy-CA') });
    refuses(t, 'leaf of the name of its issuer', 'name_constraints', { chain: [leaf], roots: [bound] }, /its subject/);
  },
);

t.test('the first and the last second of an issuer count', async (t) => {
  const [notBefore, notAfter] = [now - 9_000_000, Math.floor(now / 1_000) * 1_000 + 9_000_000];
  const ca = makeCa(root, { notBefore, notAfter });
  const chain = [makeLeaf(ca), ca];
  accepts(t, 'last', { chain, roots, now: notAfter });
  refuses(t, 'after', 'issuer_expired', { chain, roots, now: notAfter + 1 });
});

t.test('a chain of many issuers of one name ends within its budget', async (t) => {
  const bare = { subject: name('Loop'), extensions: { ski: undefined, aki: undefined } };
  const leaf = { extensions: bare.extensions };
  const loops = Array.from({ length: 15 }, () => makeCa(makeRoot(bare), bare));
  refuses(t, 'strangers that all fit', 'bad_signature', { chain: [makeLeaf(makeRoot(bare), leaf), ...loops], roots });
  const keys = ecKeys();
  const cycle = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(() =>
    makeCa(makeRoot({ ...bare, keys }), { ...bare, keys }),
  );
  refuses(t, 'a thicket that signs itself', 'chain_too_long', {
    chain: [makeLeaf(makeRoot({ ...bare, keys }), leaf), ...cycle],
    roots,
  });
});
