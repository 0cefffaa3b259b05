import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type Clock, DAY, HOUR, MINUTE, systemClock } from '../../../src/base/clock.ts';
import type { Manager } from '../../../src/manager/manager.ts';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { parseCertificate } from '../../../src/pki/certificate.ts';
import { createCsr } from '../../../src/pki/csr.ts';
import { issueLeaf } from '../../../src/pki/issue.ts';
import { generateKey, privateKeyFromPem } from '../../../src/pki/keys.ts';
import type { IdentityMaterial } from '../../../src/pki/material.ts';
import { verifyPeer } from '../../../src/pki/peer.ts';
import { openManager, type Rig, startRig, temporaryDirectory } from '../../support/manager/rig.ts';
import { requireProgram } from '../../support/programs.ts';
import { until } from '../../support/until.ts';

function chainOf({ leaf, chain }: IdentityMaterial): Buffer[] {
  return [leaf, ...chain].map(({ der }) => der);
}

/** Says what a sidecar with this identity would, and gets what it would. */
function tell({ manager }: Pick<Rig, 'manager'>, identity: IdentityMaterial, bundle = manager.trustBundle().sha256) {
  return report({ manager }, chainOf(identity), bundle);
}

async function report({ manager }: Pick<Rig, 'manager'>, chain: Buffer[], bundle = manager.trustBundle().sha256) {
  return (await manager.follow({ chain, bundle, peers: new Map() }))?.news();
}

/** What its sidecar does when it is told to renew. */
async function renewed(rig: Rig, identity: IdentityMaterial): Promise<Buffer[]> {
  const csr = createCsr(await generateKey('ecdsa-p256'), 'x');
  const { pem } = await rig.manager.renew({ chain: chainOf(identity), csr, remote: 'test' });
  return parseChain(pem);
}

function parseChain(pem: string): Buffer[] {
  return pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)?.map((block) => {
    return Buffer.from(block.replace(/-----[^-]+-----/g, ''), 'base64');
  }) as Buffer[];
}

t.test('each step is refused out of turn, and until everybody who counts has confirmed', async (t) => {
  const rig = await startRig(t);
  const { trust } = rig.manager;
  for (const step of ['activate', 'retire', 'unstage'] as const) {
    await t.rejects(trust.take(step), { code: 'SL-TRUST-002' }, step);
  }
  const orders = await rig.enroll('orders');
  const gone = await rig.enroll('gone');
  t.match(await trust.take('stage', { dryRun: true }), { phase: 'steady', generation: 1 });
  await trust.take('stage');
  await t.rejects(trust.take('stage'), { code: 'SL-TRUST-002' });
  const refused = { code: 'SL-TRUST-001', why: /gone .*not confirmed/ };
  await tell(rig, orders, orders.bundle.sha256);
  await t.rejects(
    trust.take('activate'),
    { ...refused, data: { lacking: [{ service: 'orders' }, {}] } },
    'the old bundle',
  );
  await tell(rig, orders);
  await t.rejects(trust.take('activate'), { ...refused, data: { lacking: [{ service: 'gone', holder: 'sidecar' }] } });
  t.match(await trust.take('activate', { dryRun: true }), { phase: 'staged', lacking: [{ service: 'gone' }] });

  await rig.pass(DAY + MINUTE);
  await tell(rig, orders);
  await t.rejects(trust.take('activate', { absentMs: 2 * DAY }), refused, 'not gone for long enough');
  await trust.take('activate', { absentMs: DAY });
  t.equal((await tell(rig, orders))?.renew, true);
  await t.rejects(trust.take('retire'), { code: 'SL-TRUST-001', why: /certificate is of the old root/ });
  const chain = await renewed(rig, orders);
  await t.rejects(trust.take('retire', { absentMs: DAY }), {
    code: 'SL-TRUST-001',
    why: /not confirmed its certificate/,
  });
  await report(rig, chain);
  await t.rejects(trust.take('retire'), { code: 'SL-TRUST-001', why: /^gone/ });
  await rig.manager.revocations.revoke({ serial: gone.leaf.serial, reason: 'cessationOfOperation' });
  await rig.manager.tokens.create({ service: 'late' });
  const status = await trust.take('retire');
  t.match(status, { phase: 'steady', generation: 4, lacking: [], roots: [{ state: 'gone' }, { state: 'signs' }] });
  const verified = parseBundle(status.roots.length > 0 ? rig.manager.trustBundle().pem : '', 'now', rig.clock.now());
  const context = { bundle: verified, now: rig.clock.now(), purpose: 'client', trustDomain: 'ai-teddy.local' } as const;
  t.match(verifyPeer({ chain, ...context }), { ok: true });
  t.match(verifyPeer({ chain: chainOf(orders), ...context }), { ok: false, reason: 'chain_incomplete' });
});

t.test('what the old root and a token of its time need stands against its end', async (t) => {
  const rig = await startRig(t);
  const { trust, tokens, devices } = rig.manager;
  await devices.create({ device: 'teddy-1' });
  await trust.take('stage');
  const { id } = await tokens.create({ service: 'late' });
  await rig.pass(1000);
  await trust.take('activate');
  const { lacking } = await trust.status();
  t.match(lacking, [
    { service: 'teddy-1', holder: 'unknown', why: /of the old root/ },
    { service: 'late', serial: id, holder: 'token', why: /pins the old root/ },
  ]);
  const { certificate } = await devices.create({ device: 'teddy-2' });
  const chain = parseChain(certificate);
  t.equal(chain.length, 3, 'leaf, issuer of devices, and the new root as the old one knows it');
  t.equal((await trust.status()).lacking.length, 2, 'the new device is under the new root');
});

t.test('who knows only the old root verifies what the new one signs, by openssl too', async (t) => {
  const rig = await startRig(t, { ca: { issuer: true } });
  const { trust } = rig.manager;
  const old = rig.manager.trustBundle();
  await trust.take('stage');
  await trust.take('activate');
  const { certificate } = await rig.manager.ca.generateServiceCertificate({
    serviceName: 'web',
    serviceType: 'api_service',
  });
  const chain = parseChain(certificate);
  t.equal(chain.length, 3, 'leaf, issuer, cross certificate');
  for (const bundle of [old, rig.manager.trustBundle()]) {
    const context = { now: rig.clock.now(), purpose: 'server', trustDomain: 'ai-teddy.local' } as const;
    t.match(verifyPeer({ chain, bundle, ...context }), { ok: true });
  }
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const directory = t.testdir({ 'chain.pem': certificate, 'old.pem': old.pem });
  const [leaf, ca] = [join(directory, 'chain.pem'), join(directory, 'old.pem')];
  const verified = execFileSync(openssl, ['verify', '-x509_strict', '-CAfile', ca, '-untrusted', leaf, leaf]);
  t.match(verified.toString(), /OK/);
  t.match(await rig.enroll('pay'), { chain: { length: 2 } }, 'a token of now, and the manager is known by it');
});

t.test('while two roots count there are two revocation lists, each of its own certificates', async (t) => {
  const rig = await startRig(t);
  const orders = await rig.enroll('orders');
  await rig.manager.revocations.revoke({ serial: orders.leaf.serial, reason: 'keyCompromise' });
  await rig.manager.trust.take('stage');
  await rig.manager.trust.take('activate');
  const web = await rig.enroll('web');
  await rig.manager.revocations.revoke({ serial: web.leaf.serial, reason: 'superseded' });
  const { lists } = rig.manager.revocations.crl();
  t.same(
    lists.map(({ entries }) => [...entries.keys()]),
    [[orders.leaf.serial], [web.leaf.serial]],
  );
  const { crl } = await rig.client(web).news({ crl: 0, notices: 0 });
  t.equal(crl?.pem.match(/BEGIN X509 CRL/g)?.length, 2);
});

t.test(
  'F24 the key is in strange hands: a forged certificate renews nothing, a real one even when it comes late',
  async (t) => {
    const rig = await startRig(t);
    const [orders, late] = [await rig.enroll('orders'), await rig.enroll('late')];
    const stolen = privateKeyFromPem(await readFile(join(rig.storage, '.sidelock/ca/root.key')), 'root.key');
    const der = rig.manager.trustBundle().roots[0]?.der ?? Buffer.alloc(0);
    const forger = await generateKey('ecdsa-p256');
    const forged = issueLeaf({
      signer: { certificate: parseCertificate(der), key: stolen },
      publicKey: createPublicKey(forger),
      spiffeId: orders.spiffeId.uri,
      sans: [],
      validityMs: HOUR,
      now: rig.clock.now(),
    });
    await rig.manager.trust.take('compromise', { withinMs: MINUTE });
    const csr = createCsr(forger, 'orders');
    const forgery = { chain: [forged.der], csr, remote: 'thief' };
    await t.rejects(rig.manager.renew(forgery), { code: 'SL-API-002', message: /not on record/ });
    t.equal((await tell(rig, orders))?.renew, true);
    const chain = await renewed(rig, orders);
    await report(rig, chain);
    t.match(await rig.manager.trust.status(), { phase: 'compromised', lacking: [{ service: 'late' }] });
    await rig.pass(2 * MINUTE);
    await until(() => rig.manager.trust.phase() === 'steady');
    t.match(await rig.manager.trust.status(), { phase: 'steady', roots: [{ state: 'gone' }, { state: 'signs' }] });
    t.equal(rig.manager.trustBundle().roots.length, 1);
    await t.rejects(rig.manager.renew(forgery), { code: 'SL-API-002' });
    const news = await rig.client(late).news({ crl: 0, notices: 0, bundle: late.bundle.sha256 });
    t.match(news, { trust: { renew: true } }, 'it knows the manager by the cross certificate');
    t.ok(await renewed(rig, late));
    t.match(await readdir(join(rig.storage, '.sidelock/ca')), ['root.crt'], 'the key is destroyed');
  },
);

t.test('M42 a restart in each phase goes on from there, and what a step left unfinished is taken away', async (t) => {
  const storage = join(await temporaryDirectory(t), 'store');
  // Nothing happens by itself until the last phase was looked at.
  const looked = Promise.withResolvers<void>();
  const clock: Clock = {
    now: systemClock.now,
    async sleep(ms, signal) {
      const stopped = signal.aborted ? undefined : once(signal, 'abort');
      await Promise.race([looked.promise, stopped]);
      await systemClock.sleep(ms, signal);
    },
  };
  const state = join(storage, '.sidelock');
  const again = async (before: Manager) => {
    await before[Symbol.asyncDispose]();
    await cp(join(state, 'ca'), join(state, 'ca-9'), { recursive: true });
    await cp(join(state, 'ca'), join(state, 'ca.new-half'), { recursive: true });
    const after = await openManager(storage, clock);
    t.notOk((await readdir(state)).some((name) => ['ca-9', 'ca.new-half'].includes(name)));
    return after;
  };
  let manager = await again(await openManager(storage, clock));
  for (const [step, phase, trusted] of [
    ['stage', 'staged', 2],
    ['unstage', 'steady', 1],
    ['stage', 'staged', 2],
    ['activate', 'active', 2],
    ['compromise', 'compromised', 3],
  ] as const) {
    await manager.trust.take(step);
    const before = { root: manager.ca.rootSha256, bundle: manager.trustBundle().sha256 };
    manager = await again(manager);
    t.equal(manager.trust.phase(), phase);
    t.equal(manager.trustBundle().roots.length, trusted);
    t.same({ root: manager.ca.rootSha256, bundle: manager.trustBundle().sha256 }, before);
    await manager.initializeServiceCertificate({ serviceName: 'web', serviceType: 'api_service' });
  }
  // Nobody needs the old roots, so they end before their time.
  looked.resolve();
  await until(() => manager.trust.phase() === 'steady');
  await manager[Symbol.asyncDispose]();
  await rm(join(state, 'trust.json'));
  await t.rejects(openManager(storage, clock), { code: 'SL-CA-001', why: /trust.json/ });
  await writeFile(join(state, 'trust.json'), '{');
  await t.rejects(openManager(storage, clock), { code: 'SL-STORE-003' });
});
