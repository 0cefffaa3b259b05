import t from 'tap';
import { parseCertificate } from '../../../src/pki/certificate.ts';
import {
  dns,
  email,
  extension,
  ip,
  makeLeaf,
  makeRoot,
  name,
  OID,
  type Spec,
  subjectAltName,
  uri,
} from '../../support/badcert.ts';
import { peerRows } from '../../support/peer-rows.ts';

const { row, refuses, accepts } = peerRows(t, '4.3 names and identity');
const root = makeRoot();
const ID = 'spiffe://ai-teddy.local/ns/default/sa/web';
const leaf = (spec: Spec) => ({ chain: [makeLeaf(root, spec)], roots: [root] });
const names = (...list: Buffer[]) => leaf({ extensions: { san: subjectAltName(...list) } });
const besides = (...list: Buffer[]) => names(uri(ID), ...list);

row('C39', 'DNS name with NUL', (t) => {
  refuses(t, 'NUL', 'bad_name', besides(dns('a.ai-teddy.local\0.evil.com')), /a\.ai-teddy\.local\\x00\.evil\.com/);
});

row('C40', 'URI with NUL', (t) => {
  refuses(t, 'NUL', 'bad_spiffe_id', names(uri(`${ID}\0/x`)), /\\x00/);
});

row('C41', 'DNS name that looks like a list', (t) => {
  refuses(t, 'quotes', 'no_uri_san', names(dns(`x.evil", URI:${ID}, DNS:"y`)));
  refuses(t, 'quotes beside an id', 'bad_name', besides(dns('x.evil", URI:spiffe://td/a, DNS:"y')));
});

row('C42', 'name with a comma and another name', (t) => {
  refuses(t, 'DNS', 'no_uri_san', names(dns(`x, URI:${ID}`)));
  refuses(t, 'URI', 'bad_spiffe_id', names(uri(`spiffe://evil/x, URI:${ID}`)));
});

row('C43', 'DNS name with a newline', (t) => {
  const forged = besides(dns('a\n{"level":30}'));
  refuses(t, 'newline', 'bad_name', forged, /^[\x20-\x7e]+$/);
  refuses(t, 'in a URI', 'bad_spiffe_id', names(uri(`${ID}\n`)), /^[\x20-\x7e]+$/);
});

row('C44', 'two URIs', (t) => {
  refuses(t, 'two ids', 'many_uri_sans', names(uri(ID), uri('spiffe://ai-teddy.local/ns/default/sa/admin')));
  refuses(t, 'the same twice', 'many_uri_sans', names(uri(ID), uri(ID)));
  refuses(t, 'id and https', 'many_uri_sans', names(uri(ID), uri('https://a/')));
});

row('C45', 'URI that is not ASCII', (t) => {
  refuses(t, 'utf-8', 'bad_spiffe_id', names(uri(`${ID}\xc3\xa4`)), /\\xc3\\xa4/);
});

row('C46', 'forms of SPIFFE ids', (t) => {
  refuses(
    t,
    'other trust domain',
    'other_trust_domain',
    names(uri('spiffe://other.local/ns/default/sa/web')),
    /ours is ai-teddy.local/,
  );
  refuses(
    t,
    'trust domain below ours',
    'other_trust_domain',
    names(uri('spiffe://a.ai-teddy.local/ns/default/sa/web')),
  );
  const bad: Record<string, string> = {
    query: `${ID}?q`,
    fragment: `${ID}#f`,
    port: 'spiffe://ai-teddy.local:443/ns/default/sa/web',
    user: 'spiffe://u@ai-teddy.local/ns/default/sa/web',
    'scheme in upper case': ID.replace('spiffe', 'SPIFFE'),
    'trust domain in upper case': ID.replace('ai-teddy', 'AI-Teddy'),
    percent: `${ID}/%61`,
    'dot segments': `${ID}/b/../a`,
    'dot segment': `${ID}/.`,
    'trailing slash': `${ID}/`,
    'empty segment': `spiffe://ai-teddy.local//web`,
    'no trust domain': 'spiffe:///web',
    'dot after the trust domain': 'spiffe://ai-teddy.local./web',
    'no path': 'spiffe://ai-teddy.local',
    'too long': `spiffe://ai-teddy.local/${'a'.repeat(2_048)}`,
    https: 'https://ai-teddy.local/ns/default/sa/web',
    space: `${ID} `,
    empty: '',
  };
  for (const [what, text] of Object.entries(bad)) {
    refuses(t, what, 'bad_spiffe_id', names(uri(text)));
  }
});

row('C47', 'DNS name of another service', (t) => {
  accepts(t, 'identity is the URI alone', besides(dns('payments.ai-teddy.local')));
});

row('C48', 'CN only', (t) => {
  refuses(
    t,
    'no SAN',
    'no_san',
    leaf({ subject: name('web.ai-teddy.local'), extensions: { san: undefined } }),
    /CN=web/,
  );
  refuses(t, 'DNS only', 'no_uri_san', names(dns('web.ai-teddy.local')));
});

row('C49', 'empty SAN', (t) => refuses(t, 'empty', 'no_san', names()));

row('C50', 'SAN malformed inside', (t) => {
  const broken = (value: Buffer) => leaf({ extensions: { san: extension(OID.san, value) } });
  refuses(t, 'no sequence', 'malformed', broken(Buffer.from([0x04, 0x01, 0x00])));
  refuses(t, 'cut', 'malformed', broken(Buffer.from([0x30, 0x05, 0x82, 0x07, 0x61])));
  refuses(t, 'unknown tag', 'malformed', broken(Buffer.from([0x30, 0x03, 0x89, 0x01, 0x61])));
  refuses(t, 'DNS name in pieces', 'malformed', broken(Buffer.from([0x30, 0x05, 0xa2, 0x03, 0x16, 0x01, 0x61])));
  refuses(t, 'otherName that is octets', 'malformed', broken(Buffer.from([0x30, 0x03, 0x80, 0x01, 0x61])));
  refuses(t, 'bytes after the end', 'malformed', broken(Buffer.from([0x30, 0x00, 0x00])));
});

row('C51', 'wildcards', (t) => {
  for (const text of ['*', '*.ai-teddy.local', 'a*.ai-teddy.local'])
    refuses(t, text, 'wildcard_name', besides(dns(text)));
});

row('C52', 'names that are not exact', (t) => {
  for (const text of [
    'a.ai-teddy.local.',
    'A.ai-teddy.local',
    '127.0.0.1',
    '',
    'a..b',
    '-a',
    'a_b',
    `${'a'.repeat(64)}.b`,
  ]) {
    refuses(t, `"${text}"`, 'bad_name', besides(dns(text)));
  }
  refuses(t, 'IP of 5 octets', 'bad_name', besides(ip(1, 2, 3, 4, 5)));
  refuses(t, 'mail with a newline', 'bad_name', besides(email('a@b\n')));
  accepts(
    t,
    'addresses and mail',
    besides(ip(127, 0, 0, 1), ip(...Array(16).fill(0)), email('a@b.example'), dns('web')),
  );
});

row('C54', 'too many names, too long ones', (t) => {
  refuses(t, '10,000 names', 'too_large', besides(...Array.from({ length: 10_000 }, (_, i) => dns(`n${i}`))));
  refuses(t, '65 names', 'too_many_names', besides(...Array.from({ length: 64 }, (_, i) => dns(`n${i}`))), /65 names/);
  accepts(t, '64 names', besides(...Array.from({ length: 63 }, (_, i) => dns(`n${i}`))));
  refuses(t, 'one of 95 KB', 'too_large', besides(dns('a'.repeat(95_000))));
});

row('C55', 'empty subject, empty issuer', (t) => {
  accepts(t, 'empty subject', leaf({ subject: name() }));
  const nameless = makeRoot({ subject: name() });
  accepts(t, 'empty issuer', { chain: [makeLeaf(nameless)], roots: [nameless] });
});

row('C56', 'the same extension twice', (t) => {
  const admin = subjectAltName(uri('spiffe://ai-teddy.local/ns/default/sa/admin'));
  refuses(t, 'SAN', 'duplicate_extension', leaf({ extensions: { admin } }), /2\.5\.29\.17/);
  const odd = extension('1.2.3.4', Buffer.from([5, 0]));
  refuses(t, 'an unknown one', 'duplicate_extension', leaf({ extensions: { odd, again: odd } }));
  accepts(t, 'an unknown one, once', leaf({ extensions: { odd } }));
});

t.test('names of a refused certificate do not become an identity', async (t) => {
  const { der } = makeLeaf(root, { extensions: { san: subjectAltName(dns(`x, URI:${ID}`)) } });
  t.equal(parseCertificate(der).spiffeId, undefined);
});
