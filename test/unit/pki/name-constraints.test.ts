import t from 'tap';
import { parseCertificate } from '../../../src/pki/certificate.ts';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import { nameConstraintFault } from '../../../src/pki/name-constraints.ts';
import {
  dns,
  email,
  extension,
  ip,
  makeCa,
  makeLeaf,
  makeRoot,
  name,
  nameConstraints,
  OID,
  subjectAltName,
  uri,
} from '../../support/badcert.ts';

const root = makeRoot();
const directory = (...commonNames: string[]) => writeDer(0xa4, name(...commonNames));
const registered = writeDer(0x88, Buffer.from([0x2a, 0x03]));

function judge(subtrees: Parameters<typeof nameConstraints>[0], subject: string[], ...names: Buffer[]) {
  return judgeRaw(nameConstraints(subtrees), subject, ...names);
}

function judgeRaw(nc: Buffer, subject: string[], ...names: Buffer[]) {
  const issuer = makeCa(root, { subject: name('Issuing'), extensions: { nc } });
  const san = names.length === 0 ? undefined : subjectAltName(...names);
  const leaf = makeLeaf(issuer, { subject: name(...subject), extensions: { san } });
  return nameConstraintFault(parseCertificate(issuer.der), [parseCertificate(leaf.der)])?.detail;
}

t.test('an issuer without constraints vouches for everything', async (t) => {
  t.equal(nameConstraintFault(parseCertificate(root.der), [parseCertificate(makeLeaf(root).der)]), undefined);
});

t.test('DNS: the base and what is below it, in any case, at label borders', async (t) => {
  const permitted = [dns('Example.com')];
  for (const good of ['example.com', 'a.EXAMPLE.com', 'a.b.example.com'])
    t.notOk(judge({ permitted }, [], dns(good)), good);
  for (const bad of ['notexample.com', 'example.com.evil', 'com'])
    t.match(judge({ permitted }, [], dns(bad)), /not for dns/, bad);
  t.match(judge({ permitted, excluded: [dns('b.example.com')] }, [], dns('a.b.example.com')), /may not issue for b/);
});

t.test('a kind without constraints is free, each name of a kind with them is bound', async (t) => {
  t.notOk(judge({ permitted: [dns('a')] }, [], uri('spiffe://td/x'), ip(1, 2, 3, 4)));
  t.match(judge({ permitted: [dns('a')] }, [], dns('x.a'), dns('b')), /not for dns:b/);
  t.notOk(judge({ permitted: [dns('a'), dns('b')] }, [], dns('x.a'), dns('b')), 'one of several bases is enough');
});

t.test('URI: the host, without user and port', async (t) => {
  const permitted = [uri('td.example')];
  for (const good of ['spiffe://td.example/a', 'https://TD.example:8443/', 'https://u@td.example']) {
    t.notOk(judge({ permitted }, [], uri(good)), good);
  }
  for (const bad of ['spiffe://a.td.example/a', 'https://evil/?td.example', 'https://td.example@evil/']) {
    t.match(judge({ permitted }, [], uri(bad)), /may issue only for td.example/, bad);
  }
  for (const bad of ['urn:td.example', 'https:///td.example'])
    t.match(judge({ permitted }, [], uri(bad)), /no host/, bad);
  t.match(judge({ excluded: [uri('')] }, [], uri('spiffe://td/x')), /any such name/);
});

t.test('IP: address and mask, each family by itself', async (t) => {
  const permitted = [ip(10, 1, 0, 0, 255, 255, 0, 0)];
  t.notOk(judge({ permitted }, [], ip(10, 1, 9, 9)));
  t.match(judge({ permitted }, [], ip(10, 2, 0, 1)), /not for ip:10\.2\.0\.1/);
  t.match(judge({ permitted }, [], ip(...Array(16).fill(0))), /not for ip:::/, 'IPv6 is no IPv4');
  t.notOk(judge({ excluded: permitted }, [], ip(...Array(16).fill(0))));
});

t.test('mail: a mailbox, a host, or what is below a domain', async (t) => {
  t.notOk(judge({ permitted: [email('a@b.example')] }, [], email('A@b.example')));
  t.ok(judge({ permitted: [email('a@b.example')] }, [], email('c@b.example')));
  t.notOk(judge({ permitted: [email('b.example')] }, [], email('c@b.example')));
  t.ok(judge({ permitted: [email('b.example')] }, [], email('c@a.b.example')));
  t.notOk(judge({ permitted: [email('.b.example')] }, [], email('c@a.b.example')));
});

t.test('directory names: the subject begins with the base', async (t) => {
  const permitted = [directory('org')];
  t.notOk(judge({ permitted }, ['org', 'web']));
  t.notOk(judge({ permitted }, []), 'an empty subject is no name');
  t.match(judge({ permitted }, ['web', 'org']), /its subject/);
  t.match(judge({ permitted: [directory('org', 'unit')] }, ['org']), /its subject/);
  t.match(judge({ permitted }, ['org'], directory('other')), /may issue only/, 'as subjectAltName too');
});

t.test('kinds that are not understood are refused where they meet a name', async (t) => {
  t.notOk(judge({ permitted: [registered] }, [], dns('a')));
  t.ok(judge({ permitted: [registered] }, [], writeDer(0x88, Buffer.from([0x2a, 0x04]))));
  t.match(judge({ excluded: [directory('org')] }, ['web']), /not supported/);
});

t.test('constraints that are malformed or say nothing refuse', async (t) => {
  const raw = (...parts: Buffer[]) => judgeRaw(extension(OID.nc, writeDer(TAG.sequence, ...parts), true), [], dns('a'));
  const subtree = (...parts: Buffer[]) => writeDer(TAG.sequence, ...parts);
  t.match(raw(), /empty or holds unknown parts/);
  t.match(raw(writeDer(0xa0)), /list of subtrees is empty/);
  t.match(raw(writeDer(0xa1, subtree(dns('b'))), writeDer(0xa0, subtree(dns('a')))), /unknown parts/, 'order');
  t.match(raw(writeDer(0xa0, subtree(dns('a'))), writeDer(0xa0, subtree(dns('a')))), /unknown parts/, 'twice');
  t.match(raw(writeDer(0xa0, subtree(dns('a'), writeDer(0x80, Buffer.from([1]))))), /range/);
  t.match(raw(writeDer(0xa0, subtree())), /range/);
  t.match(raw(writeDer(0xa0, dns('a'))), /do not parse/);
  t.match(judge({ permitted: [dns('.a')] }, [], dns('x.a')), /begins with a dot/);
  t.match(judge({ permitted: [ip(1, 2, 3, 4)] }, [], dns('a')), /no address and mask/);
});
