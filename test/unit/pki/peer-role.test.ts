import t from 'tap';
import { TAG, writeDer } from '../../../src/pki/der.ts';
import {
  basicConstraints,
  DAY,
  extKeyUsage,
  keyUsage,
  makeLeaf,
  makeRoot,
  noExtensions,
  PURPOSE,
  type Spec,
} from '../../support/badcert.ts';
import { peerRows } from '../../support/peer-rows.ts';

const { row, refuses, accepts } = peerRows(t, '4.1 time, role, usage');
const root = makeRoot();
const leaf = (spec: Spec = {}) => ({ chain: [makeLeaf(root, spec)], roots: [root] });
const only = (purpose: 'client' | 'server', spec: Spec) => ({ ...leaf(spec), purposes: [purpose] });
const now = Date.now();

t.test('a good leaf is accepted in both roles', async (t) => accepts(t, 'good', leaf()));

row('C1', 'expired', (t) => {
  refuses(
    t,
    'yesterday',
    'expired',
    leaf({ notBefore: now - 3 * DAY, notAfter: now - DAY }),
    /expired 1 d .*UTC, here it is .*UTC/,
  );
  refuses(t, '2 s ago', 'expired', leaf({ notAfter: now - 2_000 }), /expired [23] s ago/);
});

row('C2', 'not yet valid', (t) => {
  refuses(t, 'tomorrow', 'not_yet_valid', leaf({ notBefore: now + DAY }), /valid from .*UTC, our clock says .*UTC/);
  refuses(t, 'in 30 s', 'not_yet_valid', leaf({ notBefore: now + 30_000 }));
});

t.test('the first and the last second count', async (t) => {
  const [notBefore, notAfter] = [1_800_000_000_000, 1_800_000_600_000];
  const old = makeRoot({ notBefore: notBefore - DAY, notAfter: notBefore + 600 * DAY });
  const at = (moment: number) => ({ chain: [makeLeaf(old, { notBefore, notAfter })], roots: [old], now: moment });
  accepts(t, 'first', at(notBefore));
  accepts(t, 'last', at(notAfter));
  refuses(t, 'before', 'not_yet_valid', at(notBefore - 1));
  refuses(t, 'after', 'expired', at(notAfter + 1));
});

row('C3', 'notBefore after notAfter', (t) => {
  refuses(t, 'inverted', 'validity_inverted', leaf({ notBefore: now + DAY, notAfter: now - DAY }));
});

row('C4', 'no end', (t) => {
  refuses(t, '9999', 'lifetime_too_long', leaf({ notAfter: Date.UTC(9999, 11, 31, 23, 59, 59) }));
  refuses(t, '399 days', 'lifetime_too_long', leaf({ notBefore: now - DAY, notAfter: now + 398 * DAY }), /398 days/);
  accepts(t, '398 days', leaf({ notBefore: now - DAY, notAfter: now + 397 * DAY }));
});

row('C5', 'times that are none of RFC 5280', (t) => {
  const time = (tag: number, text: string) => leaf({ notAfter: writeDer(tag, Buffer.from(text)) });
  refuses(t, 'UTCTime without Z', 'malformed', time(TAG.utcTime, '300101000000'), /notAfter/);
  refuses(t, 'UTCTime without seconds', 'malformed', time(TAG.utcTime, '3001010000Z'), /notAfter/);
  refuses(t, 'fraction', 'malformed', time(TAG.generalizedTime, '20300101000000.5Z'), /notAfter/);
});

row('C7', 'EKU serverAuth only', (t) => {
  const spec = { extensions: { eku: extKeyUsage(PURPOSE.server) } };
  refuses(t, 'as client', 'wrong_eku', only('client', spec), /lacks clientAuth/);
  accepts(t, 'as server', only('server', spec));
});

row('C8', 'EKU clientAuth only', (t) => {
  const spec = { extensions: { eku: extKeyUsage(PURPOSE.client) } };
  refuses(t, 'as server', 'wrong_eku', only('server', spec), /lacks serverAuth/);
  accepts(t, 'as client', only('client', spec));
});

row('C9', 'EKU of another trade', (t) => {
  refuses(t, 'codeSigning', 'wrong_eku', leaf({ extensions: { eku: extKeyUsage(PURPOSE.codeSigning) } }));
  refuses(t, 'any', 'wrong_eku', leaf({ extensions: { eku: extKeyUsage(PURPOSE.any) } }));
});

row('C10', 'no EKU', (t) => refuses(t, 'none', 'no_eku', leaf({ extensions: { eku: undefined } })));

row('C11', 'no KU', (t) => refuses(t, 'none', 'no_key_usage', leaf({ extensions: { ku: undefined } })));

row('C12', 'KU without digitalSignature', (t) => {
  refuses(t, 'keyEncipherment', 'wrong_key_usage', leaf({ extensions: { ku: keyUsage('keyEncipherment') } }));
  refuses(t, 'empty', 'wrong_key_usage', leaf({ extensions: { ku: keyUsage() } }));
});

row('C13', 'KU of an issuer on a leaf', (t) => {
  const usage = (...usages: string[]) => leaf({ extensions: { ku: keyUsage('digitalSignature', ...usages) } });
  refuses(t, 'keyCertSign', 'cert_sign_leaf', usage('keyCertSign'));
  refuses(t, 'cRLSign', 'cert_sign_leaf', usage('cRLSign'));
});

row('C14', 'CA:TRUE leaf', (t) => {
  const bc = basicConstraints(true);
  refuses(t, 'with a leaf usage', 'ca_as_leaf', leaf({ extensions: { bc } }));
  refuses(t, 'without KU', 'ca_as_leaf', leaf({ extensions: { bc, ku: undefined } }));
  refuses(
    t,
    'with certSign',
    'ca_as_leaf',
    leaf({ extensions: { bc, ku: keyUsage('digitalSignature', 'keyCertSign') } }),
  );
  refuses(t, 'the root itself', 'ca_as_leaf', { chain: [root], roots: [root] });
});

row('C15', 'no basicConstraints', (t) => accepts(t, 'none', leaf({ extensions: { bc: undefined } })));

row('C16', 'nothing that says who it is', (t) => {
  refuses(t, 'v1', 'bad_version', leaf({ version: 0, extensions: noExtensions }), /v1/);
  refuses(t, 'v2', 'bad_version', leaf({ version: 1, extensions: noExtensions }));
  refuses(t, 'v3 without extensions', 'no_san', leaf({ extensions: noExtensions }));
});
