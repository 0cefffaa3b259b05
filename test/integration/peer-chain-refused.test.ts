import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import t from 'tap';
import { parseBundle } from '../../src/pki/bundle.ts';
import { type PeerPurpose, type PeerReason, type PeerVerdict, verifyPeer } from '../../src/pki/peer.ts';
import { peerChain } from '../../src/pki/peer-chain.ts';
import {
  basicConstraints,
  DAY,
  dns,
  ecKeys,
  extension,
  extKeyUsage,
  keyPem,
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
  type Spec,
  subjectAltName,
  TRUST_DOMAIN,
  uri,
} from '../support/badcert.ts';

const ID = uri('spiffe://ai-teddy.local/ns/default/sa/web');
const root = makeRoot();
const good = makeLeaf(root);
const bundle = parseBundle(root.pem, 'ca.pem', Date.now());
const BOTH: readonly PeerPurpose[] = ['client', 'server'];

interface Row {
  readonly id: string;
  readonly reason: PeerReason;
  readonly chain: readonly [Party, ...Party[]];
  /** The roles in which OpenSSL through Node lets it pass. */
  readonly roles?: readonly PeerPurpose[];
}

const of = (id: string, reason: PeerReason, spec: Spec, roles = BOTH): Row => ({
  id,
  reason,
  chain: [makeLeaf(root, spec)],
  roles,
});
const named = (id: string, reason: PeerReason, ...names: Buffer[]) =>
  of(id, reason, { extensions: { san: subjectAltName(...names) } });
const besides = (id: string, reason: PeerReason, ...names: Buffer[]) => named(id, reason, ID, ...names);

function under(id: string, reason: PeerReason, caExtensions: Spec['extensions'], leafSpec: Spec = {}): Row {
  const ca = makeCa(root, { extensions: { ...caExtensions } });
  return { id, reason, chain: [makeLeaf(ca, leafSpec), ca], roles: BOTH };
}

function deep(count: number): Row {
  const cas: Party[] = [];
  for (let i = 0; i < count; i++) cas.unshift(makeCa(cas[0] ?? root));
  return {
    id: `C30 ${count} intermediates`,
    reason: 'chain_too_long',
    chain: [makeLeaf(cas[0] ?? root), ...cas],
    roles: BOTH,
  };
}

const pss = { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' };

/** The rows of threats 4.1-4.4 that stand there as OK for OpenSSL and R for us. */
const ROWS: readonly Row[] = [
  of('C4', 'lifetime_too_long', { notAfter: Date.UTC(9999, 11, 31, 23, 59, 59) }),
  of('C10', 'no_eku', { extensions: { eku: undefined } }),
  of('C11', 'no_key_usage', { extensions: { ku: undefined } }),
  of('C12', 'wrong_key_usage', { extensions: { ku: keyUsage('keyEncipherment') } }, ['server']),
  of('C13', 'cert_sign_leaf', { extensions: { ku: keyUsage('digitalSignature', 'keyCertSign') } }),
  of('C14', 'ca_as_leaf', { extensions: { bc: basicConstraints(true) } }),
  of('C14 without KU', 'ca_as_leaf', { extensions: { bc: basicConstraints(true), ku: undefined } }),
  of('C16', 'no_san', { extensions: noExtensions }),
  of('C16 v1', 'bad_version', { version: 0, extensions: noExtensions }),
  under(
    'C25',
    'other_trust_domain',
    { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) },
    {
      extensions: { san: subjectAltName(uri('spiffe://evil/x')) },
    },
  ),
  of('C27', 'name_constraints', { extensions: { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) } }),
  deep(6),
  deep(20),
  deep(99),
  besides('C39', 'bad_name', dns('a.ai-teddy.local\0.evil.com')),
  named('C40', 'bad_spiffe_id', uri('spiffe://ai-teddy.local/ns/default/sa/web\0/x')),
  named('C41', 'no_uri_san', dns('x.evil", URI:spiffe://ai-teddy.local/ns/default/sa/web, DNS:"y')),
  named('C42', 'bad_spiffe_id', uri('spiffe://evil/x, URI:spiffe://ai-teddy.local/ns/default/sa/web')),
  besides('C43', 'bad_name', dns('a\n{"level":30}')),
  named('C44', 'many_uri_sans', ID, uri('spiffe://ai-teddy.local/ns/default/sa/admin')),
  named('C45', 'bad_spiffe_id', uri('spiffe://ai-teddy.local/\xc3\xa4')),
  named('C46 other trust domain', 'other_trust_domain', uri('spiffe://other.local/ns/default/sa/web')),
  named('C46 percent', 'bad_spiffe_id', uri('spiffe://ai-teddy.local/%61')),
  named('C46 upper case', 'bad_spiffe_id', uri('spiffe://AI-Teddy.local/ns/default/sa/web')),
  of('C48', 'no_san', { subject: name('web.ai-teddy.local'), extensions: { san: undefined } }),
  of('C49', 'no_san', { extensions: { san: subjectAltName() } }),
  besides('C51', 'wildcard_name', dns('*.ai-teddy.local')),
  besides('C52', 'bad_name', dns('A.ai-teddy.local.')),
  besides('C54', 'too_many_names', ...Array.from({ length: 100 }, (_, i) => dns(`n${i}`))),
  besides('C54 95 KB', 'too_large', dns('a'.repeat(95_000))),
  of('C56 unknown extension twice', 'duplicate_extension', {
    extensions: { odd: extension('1.2.3.4', Buffer.from([5, 0])), again: extension('1.2.3.4', Buffer.from([5, 0])) },
  }),
  of('C60 e=3', 'weak_key', { keys: rsaKeys(2048, 3) }),
  of('C60 Ed448', 'weak_key', { keys: generateKeyPairSync('ed448', {}) }),
  of('C60 ML-DSA-44', 'weak_key', { keys: generateKeyPairSync('ml-dsa-44', {}) }),
  of('C60 RSA-PSS', 'weak_key', { keys: generateKeyPairSync('rsa-pss', pss) }),
  of('C61 P-521', 'weak_key', { keys: ecKeys('P-521') }),
  of('C64 zero', 'bad_serial', { serial: Buffer.from([0]) }),
  of('C64 negative', 'bad_serial', { serial: Buffer.from([0x80]) }),
  of('C64 40 octets', 'bad_serial', { serial: Buffer.alloc(40, 0x11) }),
  of('C68', 'too_large', { extensions: { pad: extension('1.2.3.4', Buffer.alloc(95_000)) } }),
];

for (const { id, reason, chain, roles = BOTH } of ROWS) {
  t.test(`${id}: OpenSSL lets it pass, we say ${reason}`, async (t) => {
    for (const role of roles) {
      const sent = await handshake(role, chain);
      const verdict = judge(sent, role);
      t.equal(verdict.ok ? 'accepted' : verdict.reason, reason, `as ${role}: ${verdict.ok ? '' : verdict.detail}`);
    }
  });
}

t.test("C35: a self-signed leaf in OpenSSL's ca passes there, our bundle never holds it", async (t) => {
  const own = makeRoot({
    subject: name('web'),
    extensions: {
      bc: basicConstraints(false),
      ku: keyUsage('digitalSignature'),
      eku: extKeyUsage(PURPOSE.server, PURPOSE.client),
      san: subjectAltName(ID),
    },
  });
  for (const role of BOTH) t.equal((await handshake(role, [own], [root, own])).length, 1, `OpenSSL as ${role}`);
  t.throws(() => parseBundle(root.pem + own.pem, 'ca.pem', Date.now()), { code: 'SL-BUNDLE-002' });
});

t.test('C28: the chain is seen as it was sent, in both roles, and accepted', async (t) => {
  const outer = makeCa(root);
  const inner = makeCa(outer);
  const leaf = makeLeaf(inner, { notAfter: Date.now() + 30 * DAY });
  const chain = [leaf, makeCa(root), outer, leaf, inner, root] as const;
  for (const role of BOTH) {
    const sent = await handshake(role, chain);
    t.same(
      sent.map((der) => chain.findIndex((party) => party.der.equals(der))),
      [0, 1, 2, 0, 4, 5],
      role,
    );
    t.equal(judge(sent, role).ok, true);
  }
});

t.test('a peer without certificate has an empty chain', async (t) => {
  const sent = await handshake('client', undefined);
  t.equal(sent.length, 0);
  t.match(judge(sent, 'client'), { ok: false, reason: 'no_certificate' });
});

t.teardown(() => t.comment(`threats 4: ${ROWS.length} certificates that OpenSSL accepts were refused by their reason`));

function judge(chain: readonly Buffer[], purpose: PeerPurpose): PeerVerdict {
  return verifyPeer({ chain, bundle, now: Date.now(), purpose, trustDomain: TRUST_DOMAIN });
}

/** A real TLS 1.3 handshake that OpenSSL judges too: rejects unless it accepts the peer, which plays `role`. */
async function handshake(
  role: PeerPurpose,
  peer: readonly Party[] | undefined,
  anchors: readonly Party[] = [root],
): Promise<readonly Buffer[]> {
  const ca = anchors.map(({ pem }) => pem);
  const ours = { key: keyPem(good), cert: good.pem };
  const [leaf] = peer ?? [];
  const theirs = leaf === undefined ? {} : { key: keyPem(leaf), cert: peer?.map(({ pem }) => pem).join('') };
  const judging = peer !== undefined;
  const server = createServer({
    ...(role === 'server' ? theirs : ours),
    ca,
    requestCert: role === 'client',
    rejectUnauthorized: role === 'client' && judging,
  });
  const accepted = new Promise<TLSSocket>((resolve, reject) => {
    server.once('secureConnection', resolve);
    server.once('tlsClientError', (error, socket) => reject(socket.authorizationError ?? error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({
    port,
    host: '127.0.0.1',
    ...(role === 'client' ? theirs : ours),
    ca,
    rejectUnauthorized: role === 'server',
    checkServerIdentity: () => undefined,
  });
  try {
    const [inbound] = await Promise.all([accepted, once(client, 'secureConnect')]);
    const judged = role === 'client' ? inbound : client;
    if (judging && !judged.authorized) throw new Error('OpenSSL refused it');
    const chain = peerChain(judged);
    inbound.on('error', () => undefined).destroy();
    return chain;
  } finally {
    client.on('error', () => undefined).destroy();
    server.close();
  }
}
