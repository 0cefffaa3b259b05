import { access } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { CertificateRequest } from '../../../src/api/wire.ts';
import { candidate, startRig } from '../../support/manager/rig.ts';

t.test('generate, list and show: the files are on disk and no key is in an answer', async (t) => {
  const { admin, storage, manager } = await startRig(t);
  const { certificate, pem, bundle } = await admin.generate({
    service: 'orders',
    type: 'database',
    sans: ['db.internal'],
  });
  t.match(certificate, { service: 'orders', type: 'database', by: 'generate', directory: join(storage, 'orders') });
  t.ok(certificate.sans.includes('db.internal'));
  t.equal(bundle, manager.trustBundle().pem);
  await Promise.all(['cert.pem', 'key.pem', 'ca.pem'].map((file) => access(join(storage, 'orders', file))));
  const { certificates } = await admin.listCertificates();
  t.same(certificates, [certificate]);
  t.same(await admin.showCertificate('orders'), { certificate, pem, bundle });
  t.notMatch(JSON.stringify(await admin.showCertificate('orders')), /PRIVATE/);
  await t.rejects(admin.showCertificate('nobody'), { code: 'SL-STORE-001', message: /nobody/ });
});

t.test('a service that enrolled is listed without a directory: its files are its own', async (t) => {
  const rig = await startRig(t);
  await rig.enroll('web');
  const { certificates } = await rig.admin.listCertificates();
  t.match(certificates, [{ service: 'web', by: 'token' }]);
  t.equal(certificates[0]?.directory, undefined);
});

t.test('a certificate in another namespace is shown under namespace/service', async (t) => {
  const { admin } = await startRig(t);
  const made = await admin.generate({ service: 'orders', type: 'cache', namespace: 'shop' });
  t.same((await admin.showCertificate('shop/orders')).certificate, made.certificate);
});

t.test('tokens are made, listed and taken back over the socket', async (t) => {
  const rig = await startRig(t);
  const made = await rig.admin.createToken({ service: 'orders', ttlSeconds: 60, sans: ['orders.example'] });
  t.ok(made.expiresAt - Date.now() <= 60_000);
  const answer = await rig.client().enroll(made.token, (await candidate('orders')).csr);
  t.match(answer, { spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/orders' });
  t.ok(answer.renewAt !== undefined && answer.renewAt < answer.notAfter);
  const open = await rig.admin.createToken({ service: 'billing', namespace: 'shop', type: 'cache' });
  t.match(await rig.admin.listTokens(), {
    tokens: [
      { id: made.id, state: 'used', usedBy: '127.0.0.1' },
      { id: open.id, state: 'open', namespace: 'shop', type: 'cache' },
    ],
  });
  t.match((await rig.admin.revokeToken(open.id)).tokens.at(-1), { id: open.id, state: 'used', usedBy: 'revoked' });
  await t.rejects(rig.admin.revokeToken(open.id), { code: 'SL-STORE-001' });
});

t.test('an operator sees what is wrong with a request in full', async (t) => {
  const { admin } = await startRig(t, { certificates: { allowedSans: ['.internal'] } });
  const cases: ReadonlyArray<readonly [CertificateRequest, string]> = [
    [{ service: 'Orders', type: 'cache' }, 'SL-NAME-002'],
    [{ service: 'orders', type: 'toaster' }, 'SL-API-001'],
    [{ service: 'orders', type: 'cache', sans: ['*.example'] }, 'SL-NAME-003'],
    [{ service: 'orders', type: 'cache', sans: ['orders.example'] }, 'SL-NAME-004'],
    [{ service: 'manager', type: 'cache', namespace: 'sidelock-system' }, 'SL-NAME-004'],
  ];
  for (const [request, code] of cases) await t.rejects(admin.generate(request), { code }, code);
  await t.rejects(admin.createToken({ service: '../x' }), { code: 'SL-NAME-002' });
});

t.test('status says what runs, and whom to trust', async (t) => {
  const rig = await startRig(t, { version: '1.2.3' });
  await rig.admin.createToken({ service: 'orders' });
  t.match(await rig.admin.status(), {
    version: '1.2.3',
    caName: 'AI-Teddy-CA',
    trustDomain: 'ai-teddy.local',
    rootSha256: rig.manager.ca.rootSha256,
    certificates: 0,
    openTokens: 1,
    address: rig.url,
    storagePath: rig.storage,
  });
});

t.test('the API changes its own certificate before it ends', async (t) => {
  const rig = await startRig(t);
  const first = await rig.manager.managerIdentity();
  const identity = await rig.enroll('orders');
  await rig.pass(13 * 3_600_000);
  const second = await rig.manager.managerIdentity();
  t.not(second.leaf.serial, first.leaf.serial);
  t.ok(rig.lines.some(({ event, serial }) => event === 'own_identity_renewed' && serial === second.leaf.serial));
  await rig.pass(12 * 3_600_000);
  t.ok(await rig.client(identity).trust(), 'the first one has expired by now');
});
