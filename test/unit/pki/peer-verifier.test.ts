import t from 'tap';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { parseCertificate } from '../../../src/pki/certificate.ts';
import { createPeerVerifier, type PeerSource, type PeerVerifier } from '../../../src/pki/peer.ts';
import { DAY, makeCa, makeLeaf, makeRoot, name, type Party, TRUST_DOMAIN } from '../../support/badcert.ts';

const now = Date.now();
const root = makeRoot();
const bundleOf = (...roots: Party[]) => parseBundle(roots.map(({ pem }) => pem).join(''), 'ca.pem', now);
type PeerContext = Parameters<PeerVerifier['verify']>[1];

const context = (changes: Partial<PeerContext> = {}): PeerContext => ({
  bundle: bundleOf(root),
  now,
  purpose: 'client',
  trustDomain: TRUST_DOMAIN,
  ...changes,
});

/** Counts how often its chain is read. */
function source(...chain: Party[]): PeerSource & { reads: number } {
  const [leaf] = chain;
  return {
    fingerprint256: leaf === undefined ? undefined : parseCertificate(leaf.der).x509.fingerprint256,
    reads: 0,
    chain() {
      this.reads++;
      return chain.map(({ der }) => der);
    },
  };
}

t.test('an accepted leaf is known again without reading its chain', async (t) => {
  const verifier = createPeerVerifier();
  const peer = source(makeLeaf(root));
  const first = verifier.verify(peer, context());
  t.equal(first.ok, true);
  t.equal(verifier.verify(peer, context()), first, 'the same value');
  t.equal(peer.reads, 1);
});

t.test('another bundle, purpose or trust domain is judged anew', async (t) => {
  const verifier = createPeerVerifier();
  const peer = source(makeLeaf(root));
  t.equal(verifier.verify(peer, context()).ok, true);
  const other = makeRoot({ subject: name('Other') });
  t.match(verifier.verify(peer, context({ bundle: bundleOf(other) })), { ok: false, reason: 'chain_incomplete' });
  t.match(verifier.verify(peer, context({ trustDomain: 'other.local' })), { ok: false, reason: 'other_trust_domain' });
  t.equal(verifier.verify(peer, context({ purpose: 'server' })).ok, true);
  t.equal(peer.reads, 4);
});

t.test('dates are looked at on every call, those of the issuers too', async (t) => {
  const verifier = createPeerVerifier();
  const leaf = source(makeLeaf(root, { notAfter: now + DAY }));
  t.equal(verifier.verify(leaf, context()).ok, true);
  t.match(verifier.verify(leaf, context({ now: now + 2 * DAY })), { reason: 'expired' });
  t.match(verifier.verify(leaf, context({ now: now - 2 * DAY })), { reason: 'not_yet_valid' });
  t.equal(verifier.verify(leaf, context()).ok, true);
  const ca = makeCa(root, { notAfter: now + DAY });
  const below = source(makeLeaf(ca), ca);
  t.equal(verifier.verify(below, context()).ok, true);
  t.match(verifier.verify(below, context({ now: now + 2 * DAY })), { reason: 'issuer_expired' });
});

t.test('the first and the last second of a path count', async (t) => {
  const verifier = createPeerVerifier();
  const [notBefore, notAfter] = [Math.floor(now / 1_000) * 1_000 - DAY, Math.floor(now / 1_000) * 1_000 + DAY];
  const peer = source(makeLeaf(root, { notBefore, notAfter }));
  for (const moment of [now, notBefore, notAfter]) t.equal(verifier.verify(peer, context({ now: moment })).ok, true);
  t.equal(peer.reads, 1);
});

t.test('a refusal brings the leaf where it could be read', async (t) => {
  const verifier = createPeerVerifier();
  const leaf = makeLeaf(root, { extensions: { eku: undefined } });
  const refused = verifier.verify(source(leaf), context());
  t.equal(refused.leaf?.fingerprint256, parseCertificate(leaf.der).fingerprint256);
  const cut = { fingerprint256: 'x', chain: () => [leaf.der.subarray(1)] };
  t.match(verifier.verify(cut, context()), { reason: 'malformed', leaf: undefined });
});

t.test('refusals are not remembered', async (t) => {
  const verifier = createPeerVerifier();
  const ca = makeCa(root);
  const leaf = makeLeaf(ca);
  t.match(verifier.verify(source(leaf), context()), { reason: 'chain_incomplete' });
  t.equal(verifier.verify(source(leaf, ca), context()).ok, true);
  t.equal(verifier.verify(source(leaf), context()).ok, true, 'and the path that was seen is enough from then on');
});

t.test('a source without or with a false fingerprint opens no door for others', async (t) => {
  const verifier = createPeerVerifier();
  const good = makeLeaf(root);
  const bad = makeLeaf(makeRoot());
  for (const fingerprint256 of [undefined, source(bad).fingerprint256]) {
    t.equal(verifier.verify({ ...source(good), fingerprint256 }, context()).ok, true);
    t.equal(verifier.verify({ ...source(bad), fingerprint256 }, context()).ok, false);
  }
  t.match(verifier.verify(source(), context()), { ok: false, reason: 'no_certificate' });
});

t.test('the memory is bounded and forgets who was away longest', async (t) => {
  const verifier = createPeerVerifier({ maxEntries: 2 });
  const [a, b, c] = [source(makeLeaf(root)), source(makeLeaf(root)), source(makeLeaf(root))];
  for (const peer of [a, b, a, c, a, c, b]) t.equal(verifier.verify(peer, context()).ok, true);
  t.same([a.reads, b.reads, c.reads], [1, 2, 1]);
});
