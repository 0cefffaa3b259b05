import t from 'tap';
import { proveLeaf, refuseWeakerKey } from '../../../src/manager/renewal-proof.ts';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { KEY_TYPES } from '../../../src/pki/keys.ts';
import {
  basicConstraints,
  DAY,
  extKeyUsage,
  keyUsage,
  makeLeaf,
  makeRoot,
  PURPOSE,
  type Spec,
  subjectAltName,
  TRUST_DOMAIN,
  uri,
} from '../../support/badcert.ts';

const HOUR = 3_600_000;
const now = Date.now();
const root = makeRoot();
const bundle = parseBundle(root.pem, 'root', now);
const ago = (ms: number) => ({ notBefore: now - 20 * DAY, notAfter: now - ms });

const signingRoot = bundle.roots[0]?.fingerprint256 ?? '';
const context = { bundle, signingRoot, isOnRecord: () => false, trustDomain: TRUST_DOMAIN, now, expiredGraceMs: DAY };

function prove(spec: Spec, issuer = root) {
  return proveLeaf({ ...context, chain: [makeLeaf(issuer, spec).der] });
}

t.test('a leaf in date proves its service', async (t) => {
  t.match(prove({}), { service: 'web', namespace: 'default', expired: false });
});

t.test('M31 an expired leaf proves it within the grace, to the second', async (t) => {
  t.match(prove(ago(HOUR)), { service: 'web', expired: true });
  t.match(prove(ago(DAY - 2000)), { expired: true });
  t.throws(() => prove(ago(DAY + 2000)), { code: 'SL-CERT-001', why: /grace for renewals is 24 h/ });
});

t.test('M31 being expired excuses nothing else', async (t) => {
  const other = (spiffe: string) => subjectAltName(uri(spiffe));
  const faults: Readonly<Record<string, Spec['extensions']>> = {
    wrong_eku: { eku: extKeyUsage(PURPOSE.server) },
    no_eku: { eku: undefined },
    wrong_key_usage: { ku: keyUsage('keyEncipherment') },
    ca_as_leaf: { bc: basicConstraints(true) },
    no_san: { san: undefined },
    many_uri_sans: {
      san: subjectAltName(uri('spiffe://ai-teddy.local/ns/a/sa/b'), uri('spiffe://ai-teddy.local/ns/a/sa/c')),
    },
    other_trust_domain: { san: other('spiffe://elsewhere/ns/default/sa/web') },
  };
  for (const [reason, extensions = {}] of Object.entries(faults)) {
    t.throws(() => prove({ ...ago(HOUR), extensions }), { code: 'SL-API-002', data: { reason } }, reason);
    t.throws(() => prove({ extensions }), { code: 'SL-API-002', data: { reason } }, `${reason}, in date`);
  }
  t.throws(() => prove(ago(HOUR), makeRoot()), { code: 'SL-API-002' }, 'another root of the same name');
});

t.test('under a root that signs no more, only what is on record proves anything', async (t) => {
  const chain = [makeLeaf(root, {}).der];
  const former = { ...context, chain, signingRoot: 'of the root after it' };
  t.throws(() => proveLeaf(former), { code: 'SL-API-002', why: /older root/ });
  t.match(proveLeaf({ ...former, isOnRecord: () => true }), { service: 'web' });
});

t.test('M33 no certificate, no identity; and not yet valid is not expired', async (t) => {
  const nobody = () => proveLeaf({ ...context, chain: [] });
  t.throws(nobody, { code: 'SL-API-002', data: { reason: 'no_certificate' } });
  const early = { notBefore: now + HOUR, notAfter: now + DAY };
  t.throws(() => prove(early), { code: 'SL-API-002', data: { reason: 'not_yet_valid' } });
});

t.test('an identity that is no service of a namespace, or is the manager, is not renewed', async (t) => {
  for (const path of ['host/node-1', 'ns/sidelock-system/sa/manager', 'ns/default/sa/web/extra']) {
    const extensions = { san: subjectAltName(uri(`spiffe://ai-teddy.local/${path}`)) };
    t.throws(() => prove({ extensions }), { code: 'SL-API-002' }, path);
  }
});

t.test('M32 every key type may be kept, and none given up for a weaker one', async (t) => {
  for (const type of KEY_TYPES) t.doesNotThrow(() => refuseWeakerKey(type, type, 'web'));
  t.throws(() => refuseWeakerKey('ecdsa-p256', 'rsa-2048', 'web'), { code: 'SL-KEY-001' });
  t.throws(() => refuseWeakerKey('ecdsa-p384', 'ed25519', 'web'), { code: 'SL-KEY-001' });
  t.doesNotThrow(() => refuseWeakerKey('rsa-4096', 'ecdsa-p256', 'web'));
});
