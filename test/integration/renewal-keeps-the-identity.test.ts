import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { createRoot, issueLeaf } from '../../src/pki/issue.ts';
import { generateKey, privateKeyToPem } from '../../src/pki/keys.ts';
import { type IdentityMaterial, readIdentity } from '../../src/pki/material.ts';
import { serviceSpiffeId } from '../../src/pki/names.ts';
import { pemEncode } from '../../src/pki/pem.ts';
import { extension, keyPem, makeCa, makeLeaf, makeRoot, type Party, rsaKeys } from '../support/badcert.ts';
import { candidate, type Rig, startRig } from '../support/manager/rig.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** What a sidecar does, with the clock of the manager. */
async function renew(rig: Rig, identity: IdentityMaterial, next: { keyPem: string; csr: string }) {
  const answer = await rig.client(identity).renew(next.csr);
  return readIdentity({ cert: answer.certificate, key: next.keyPem, ca: answer.bundle }, { now: rig.clock.now() });
}

async function lastAudit(rig: Rig): Promise<Record<string, unknown>> {
  const text = await readFile(join(rig.storage, '.sidelock/audit.log'), 'utf8');
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '');
}

const rigOf = (t: Test) => startRig(t, { limits: { perLeaf: { burst: 1000, perSecond: 100 } } });

t.test('a renewal by mTLS gives the same names with a new key, again and again', async (t) => {
  const rig = await rigOf(t);
  const { token } = await rig.manager.tokens.create({
    service: 'orders',
    namespace: 'shop',
    type: 'database',
    additionalSans: ['db.internal'],
  });
  const first = await candidate('orders');
  const answer = await rig.client().enroll(token, first.csr);
  let identity = readIdentity(
    { cert: answer.certificate, key: first.keyPem, ca: answer.bundle },
    { now: rig.clock.now() },
  );
  const sans = identity.leaf.sans;
  for (let i = 0; i < 5; i++) {
    await rig.pass(30 * DAY);
    identity = await renew(rig, identity, await candidate('anything'));
    t.equal(identity.spiffeId.uri, 'spiffe://ai-teddy.local/ns/shop/sa/orders');
    t.same(identity.leaf.sans, sans);
  }
  t.match(rig.manager.listAllCertificates().get('shop/orders'), { type: 'database', by: 'renew' });
  t.match(await lastAudit(rig), { action: 'certificate_renewed', actor: identity.spiffeId.uri, remote: '127.0.0.1' });
});

t.test('M31 an expired leaf is renewed once within its grace, and that is noted', async (t) => {
  const rig = await rigOf(t);
  const identity = await rig.enroll('orders');
  await rig.pass(identity.leaf.notAfter + 23 * HOUR - rig.clock.now());
  const renewed = await renew(rig, identity, await candidate('orders'));
  t.equal(renewed.spiffeId.uri, identity.spiffeId.uri);
  const text = await readFile(join(rig.storage, '.sidelock/audit.log'), 'utf8');
  t.match(text, /"action":"leaf_reused".*"why":"it is expired, within the grace"/);
  await t.rejects(renew(rig, identity, await candidate('orders')), { code: 'SL-API-002', message: /already renewed/ });
});

t.test('M31 after the grace only a new token helps', async (t) => {
  const rig = await rigOf(t);
  const identity = await rig.enroll('orders');
  await rig.pass(identity.leaf.notAfter + 24 * HOUR + 60_000 - rig.clock.now());
  await t.rejects(renew(rig, identity, await candidate('orders')), { code: 'SL-CERT-001', why: /grace .* is 24 h/ });
  t.match(await lastAudit(rig), { action: 'certificate_refused', result: 'refused', why: 'SL-CERT-001' });
  t.match(await rig.enroll('orders'), { spiffeId: { uri: identity.spiffeId.uri } });
});

t.test('M31 the grace is a setting, and can be none', async (t) => {
  const rig = await startRig(t, { certificates: { expiredGraceMs: 0 } });
  const identity = await rig.enroll('orders');
  await rig.pass(identity.leaf.notAfter + 1000 - rig.clock.now());
  await t.rejects(renew(rig, identity, await candidate('orders')), { code: 'SL-CERT-001' });
});

t.test('M31 expired does not excuse anything else', async (t) => {
  const rig = await rigOf(t);
  const identity = await rig.enroll('orders');
  const stranger = await strangersLeaf(rig, identity.leaf.notAfter - 90 * DAY);
  await rig.pass(identity.leaf.notAfter + HOUR - rig.clock.now());
  const { csr } = await candidate('orders');
  await t.rejects(rig.client(stranger).renew(csr), { code: 'SL-API-002', why: /unknown_ca|bad_signature/ });
});

t.test('M31 a leaf that was renewed may be used once more, for a lost answer, and then no more', async (t) => {
  const rig = await rigOf(t);
  const identity = await rig.enroll('orders');
  await renew(rig, identity, await candidate('orders'));
  await rig.pass(2 * 60_000);
  await renew(rig, identity, await candidate('orders'));
  await rig.pass(2 * 60_000);
  await t.rejects(renew(rig, identity, await candidate('orders')), { code: 'SL-API-002', message: /already renewed/ });
  t.ok(rig.lines.some((line) => line['event'] === 'leaf_reused' && line['level'] === 40));
  t.match(await lastAudit(rig), { action: 'certificate_refused', serial: identity.leaf.serial });
});

t.test('M41 the same key gets the same certificate for as long as the answer may be lost', async (t) => {
  const rig = await rigOf(t);
  const identity = await rig.enroll('orders');
  const next = await candidate('orders');
  const first = await renew(rig, identity, next);
  for (const ms of [0, 5 * 60_000, HOUR]) {
    await rig.pass(ms);
    t.equal((await renew(rig, identity, next)).leaf.serial, first.leaf.serial);
  }
  await renew(rig, identity, await candidate('orders'));
  t.pass('none of these counted as a use of the old leaf');
});

t.test(
  'M31 two that renew by one leaf at the same moment: both may be the same sidecar, a third may not',
  async (t) => {
    const rig = await rigOf(t);
    const identity = await rig.enroll('orders');
    const requests = await Promise.all(Array.from({ length: 10 }, () => candidate('orders')));
    const results = await Promise.allSettled(requests.map((next) => renew(rig, identity, next)));
    t.equal(results.filter(({ status }) => status === 'fulfilled').length, 2);
  },
);

t.test('M32 a weaker key is refused, a stronger or equal one is not', async (t) => {
  const rig = await rigOf(t);
  const strong = await rig.enroll('orders', 'ecdsa-p384');
  await t.rejects(renew(rig, strong, await candidate('orders', 'ecdsa-p256')), { code: 'SL-KEY-001', why: /192/ });
  await t.rejects(renew(rig, strong, await candidate('orders', 'rsa-2048')), { code: 'SL-KEY-001' });
  const same = await renew(rig, strong, await candidate('orders', 'ecdsa-p384'));
  t.equal(same.leaf.keyType, 'ecdsa-p384');
  const weak = await rig.enroll('web', 'rsa-2048');
  t.equal((await renew(rig, weak, await candidate('web', 'ed25519'))).leaf.keyType, 'ed25519');
});

t.test('M32 the key of another service, or of nobody known, gives no other identity', async (t) => {
  const rig = await rigOf(t);
  const orders = await rig.enroll('orders');
  const taken = await candidate('billing');
  const { token } = await rig.manager.tokens.create({ service: 'billing' });
  await rig.client().enroll(token, taken.csr);
  await t.rejects(renew(rig, orders, taken), { code: 'SL-CSR-003' });
});

t.test('M31 the leaf of a device renews to no service', async (t) => {
  const rig = await rigOf(t);
  const { certificate } = await rig.manager.devices.create({ device: 'teddy-1' });
  const chain = certificatesFromPem(certificate, 'device').map(({ der }) => der);
  const { csr } = await candidate('teddy-1');
  await t.rejects(rig.manager.renew({ chain, csr, remote: 'x' }), { code: 'SL-API-001', message: /"device" is not/ });
  t.match(await lastAudit(rig), { action: 'certificate_refused', service: 'teddy-1' });
});

t.test('M30 a renewal that somebody recorded is worth nothing without the key of its leaf', async (t) => {
  const rig = await rigOf(t);
  const orders = await rig.enroll('orders');
  const next = await candidate('orders');
  const renewed = await renew(rig, orders, next);
  const replay = (identity: IdentityMaterial) => rig.client(identity).renew(next.csr);
  const elsewhere = rig.manager.renew({ chain: [], csr: next.csr, remote: 'x' });
  await t.rejects(elsewhere, { code: 'SL-API-002', why: /no_certificate/ }, 'the same body from elsewhere');
  await t.rejects(replay(await rig.enroll('thief')), { code: 'SL-CSR-003' }, 'nor as another');
  t.match((await replay(orders)).certificate, renewed.certPem, 'its owner gets the same certificate again');
});

t.test('M36 a chain of many or huge keys is refused at once, and others are served', async (t) => {
  const rig = await rigOf(t);
  let orders = await rig.enroll('orders');
  const [issuers, huge] = [40, 4].map((count, i) => {
    const path: Party[] = [];
    for (let n = 0; n < count; n++) {
      const spki =
        i === 0 ? {} : { keys: rsaKeys(2048), extensions: { pad: extension('1.2.3', Buffer.alloc(15_000)) } };
      path.unshift(path[0] === undefined ? makeRoot(spki) : makeCa(path[0], spki));
    }
    return path;
  });
  for (const path of [issuers ?? [], huge ?? []]) {
    const leaf = makeLeaf(path[0] ?? makeRoot());
    const socket = connect({
      ...{ host: '127.0.0.1', port: Number(new URL(rig.url).port), rejectUnauthorized: false },
      ...{ cert: [leaf, ...path].map(({ pem }) => pem).join(''), key: keyPem(leaf) },
    });
    socket.on('error', () => {});
    const body = JSON.stringify({ csr: (await candidate('web')).csr });
    const head = `POST /v1/renew HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
    socket.write(head + body);
    let text = '';
    for await (const chunk of socket) text += chunk;
    t.match(text, /^HTTP\/1\.1 403 [\s\S]*(?:chain_too_long|too_large|unknown_ca)/, `${path.length} issuers`);
    orders = await renew(rig, orders, await candidate('orders'));
  }
});

t.test('M33 who asks is told by the connection alone', async (t) => {
  const rig = await rigOf(t);
  const { csr } = await candidate('orders');
  await t.rejects(rig.manager.renew({ chain: [], csr, remote: 'x' }), { code: 'SL-API-002', why: /no_certificate/ });
  const stranger = await strangersLeaf(rig, rig.clock.now());
  await t.rejects(rig.client(stranger).renew(csr), { code: 'SL-API-002', why: /unknown_ca|bad_signature/ });
});

t.test('nobody renews as the manager itself, and a root is no service', async (t) => {
  const rig = await rigOf(t);
  const own = await rig.manager.managerIdentity();
  const { csr } = await candidate('manager');
  await t.rejects(rig.client(own).renew(csr), { code: 'SL-API-002', why: /not the identity of a service/ });
  const root = rig.manager.trustBundle().roots.map(({ der }) => der);
  await t.rejects(rig.manager.renew({ chain: root, csr, remote: 'x' }), { code: 'SL-API-002' });
});

t.test('an issuing tier signs renewals too, and sends its own certificate along', async (t) => {
  const rig = await startRig(t, { ca: { issuer: true } });
  const identity = await rig.enroll('orders');
  t.equal(identity.chain.length, 1);
  const renewed = await renew(rig, identity, await candidate('orders'));
  t.equal(renewed.chain.length, 1);
  t.not(renewed.leaf.serial, identity.leaf.serial);
});

/** The same name under a root of somebody else. It trusts our root, so it talks to our manager. */
async function strangersLeaf(rig: Rig, now: number): Promise<IdentityMaterial> {
  const rootKey = await generateKey('rsa-2048');
  const root = await createRoot({ name: 'AI-Teddy-CA', key: rootKey, now, validityYears: 10 });
  const key = await generateKey('ecdsa-p256');
  const leaf = issueLeaf({
    signer: { certificate: root, key: rootKey },
    publicKey: createPublicKey(key),
    spiffeId: serviceSpiffeId({ trustDomain: 'ai-teddy.local', namespace: 'default', service: 'orders' }),
    sans: [],
    validityMs: 90 * DAY,
    now,
  });
  const theirs = readIdentity(
    { cert: pemEncode('CERTIFICATE', leaf.der), key: privateKeyToPem(key), ca: pemEncode('CERTIFICATE', root.der) },
    { now },
  );
  return { ...theirs, bundle: rig.manager.trustBundle() };
}
