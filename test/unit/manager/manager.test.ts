import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, createServer } from 'node:tls';
import t from 'tap';
import { createMetrics } from '../../../src/base/metrics.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { createCsr } from '../../../src/pki/csr.ts';
import { generateKey } from '../../../src/pki/keys.ts';
import { candidate, openManager, recordingLog, shiftedClock, temporaryDirectory } from '../../support/manager/rig.ts';
import { until } from '../../support/until.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const HOLDER = join(import.meta.dirname, '../../support/manager/holder-child.ts');

async function storageOf(t: Parameters<typeof temporaryDirectory>[0]): Promise<string> {
  return join(await temporaryDirectory(t), 'store');
}

t.test('the first start shows its progress and leaves a private storage; the second finds the same CA', async (t) => {
  const storage = await storageOf(t);
  const progress: string[] = [];
  const first = await openManager(storage, shiftedClock(), { onProgress: (text) => progress.push(text) });
  t.match(progress, [/making the certificate authority AI-Teddy-CA: RSA 2048/]);
  t.equal(first.ca.caName, 'AI-Teddy-CA');
  t.equal(first.store.storagePath, storage);
  await first[Symbol.asyncDispose]();
  for (const directory of [storage, join(storage, '.sidelock')]) t.equal((await stat(directory)).mode & 0o777, 0o700);
  await using second = await openManager(storage, shiftedClock(), { onProgress: () => t.fail('nothing is made') });
  t.equal(second.ca.rootSha256, first.ca.rootSha256);
});

t.test('the guide: a bundle by name and type, with all its names', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock(), {
    certificates: { keyType: 'rsa-2048' },
  });
  const bundle = await manager.initializeServiceCertificate({
    serviceName: 'ai-conversation-service',
    serviceType: 'ai_service',
    additionalSans: ['ai-service.internal', 'ai.local'],
  });
  t.match(bundle.certificate.toString(), /BEGIN CERTIFICATE/);
  t.match(bundle.privateKey.toString(), /BEGIN PRIVATE KEY/);
  t.equal(bundle.caCertificate.toString(), manager.trustBundle().pem);
  t.equal(bundle.leaf.keyType, 'rsa-2048');
  t.ok(Math.abs(bundle.leaf.notAfter - bundle.leaf.notBefore - 90 * DAY) < HOUR);
  const names = (bundle.leaf.sans ?? []).map(({ value }) => value);
  for (const name of ['ai-service.internal', 'ai.local', 'ai-conversation-service.ai-teddy.local']) {
    t.ok(names.includes(name), name);
  }
  t.same([...manager.listAllCertificates().keys()], ['ai-conversation-service']);
});

t.test('one SecureContext serves both sides until the files change', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock());
  for (const serviceName of ['orders', 'billing']) {
    await manager.initializeServiceCertificate({ serviceName, serviceType: 'api_service' });
  }
  const orders = await manager.getSslContext('orders');
  t.equal(await manager.getSslContext('orders'), orders);
  const server = createServer(orders, (socket) => socket.end(socket.getPeerX509Certificate()?.subject ?? ''));
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = connect({
    port,
    host: '127.0.0.1',
    servername: 'orders',
    ...(await manager.getSslContext('billing')),
  });
  let text = '';
  for await (const chunk of client) text += chunk;
  t.equal(text, 'CN=billing');
  await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' });
  t.not(await manager.getSslContext('orders'), orders);
  await t.rejects(manager.getSslContext('nobody'), { code: 'SL-STORE-001' });
});

t.test('F34 a second manager on the storage is refused while the first lives, and not after its death', async (t) => {
  const storage = await storageOf(t);
  const holder = spawn(process.execPath, [HOLDER, storage], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => holder.kill('SIGKILL'));
  const [ready] = await once(createInterface({ input: holder.stdout }), 'line');
  t.equal(ready, 'ready');
  await t.rejects(openManager(storage, shiftedClock()), {
    code: 'SL-STORE-002',
    message: new RegExp(`pid ${holder.pid}\\b`),
  });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await using manager = await openManager(storage, shiftedClock());
  t.ok(manager.listAllCertificates().has('orders'), 'what the killed one had issued is there');
});

t.test('F18 five starts and kills leave one CA and a good audit log', async (t) => {
  const storage = await storageOf(t);
  const roots = new Set<string>();
  for (let i = 0; i < 5; i++) {
    const holder = spawn(process.execPath, [HOLDER, storage], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(createInterface({ input: holder.stdout }), 'line');
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await using manager = await openManager(storage, shiftedClock());
    roots.add(manager.ca.rootSha256);
    t.match(await verifyAudit(join(storage, '.sidelock/audit.log'), manager.audit.head()), { ok: true });
  }
  t.equal(roots.size, 1);
  const left = (await readdir(join(storage, '.sidelock'))).filter((name) => /tmp|new-|damaged/.test(name));
  t.same(left, []);
});

t.test('M46 a state directory that others can enter is closed to them, with a line in the log', async (t) => {
  const storage = await storageOf(t);
  await (await openManager(storage, shiftedClock()))[Symbol.asyncDispose]();
  await chmod(join(storage, '.sidelock'), 0o755);
  const { log, lines } = recordingLog();
  await using manager = await openManager(storage, shiftedClock(), { log });
  t.ok(manager);
  t.equal((await stat(join(storage, '.sidelock'))).mode & 0o777, 0o700);
  t.ok(lines.some(({ event, was }) => event === 'mode_repaired' && was === '0755'));
});

t.test('a CA that was deleted is not replaced, and nothing stays locked', async (t) => {
  const storage = await storageOf(t);
  await (await openManager(storage, shiftedClock()))[Symbol.asyncDispose]();
  await rm(join(storage, '.sidelock/ca'), { recursive: true });
  await t.rejects(openManager(storage, shiftedClock()), { code: 'SL-CA-001' });
  await t.rejects(openManager(storage, shiftedClock()), { code: 'SL-CA-001' }, 'and not SL-STORE-002');
});

t.test('M47 nothing is issued by a clock before the newest certificate, nor outside the CA', async (t) => {
  const clock = shiftedClock();
  await using manager = await openManager(await storageOf(t), clock);
  const issue = () => manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'cache' });
  await issue();
  clock.shift(-60_000);
  await issue();
  clock.shift(-HOUR);
  await t.rejects(issue(), { code: 'SL-CA-003', why: /the newest certificate was signed/ });
  t.match(manager.blockers(), [{ name: 'ca' }]);
  clock.shift(HOUR + 60_000);
  await issue();
  t.same(manager.blockers(), []);
  clock.shift(11 * 365 * DAY);
  await t.rejects(issue(), { code: 'SL-CA-003', why: /the CA is valid from/ });
});

t.test('M48 a leaf never outlives the CA, and its shorter life is said', async (t) => {
  const clock = shiftedClock();
  const { log, lines } = recordingLog();
  await using manager = await openManager(await storageOf(t), clock, { log, ca: { validityYears: 1 } });
  clock.shift(300 * DAY);
  const { leaf } = await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'cache' });
  t.ok(leaf.notAfter <= manager.ca.rootNotAfter);
  t.ok(lines.some(({ event }) => event === 'leaf_clipped'));
});

t.test('certificates whose keys we hold are rotated when due, and nothing else', async (t) => {
  const clock = shiftedClock();
  await using manager = await openManager(await storageOf(t), clock);
  for (const serviceName of ['orders', 'billing']) {
    await manager.initializeServiceCertificate({
      serviceName,
      serviceType: 'database',
      additionalSans: [`${serviceName}.internal`],
    });
  }
  const serialOf = async (service: string) => (await manager.store.load(service))?.leaf.serial;
  const before = [await serialOf('orders'), await serialOf('billing')];
  t.same(await manager.rotationManager.checkAndRotateCertificates(), []);
  manager.rotationManager.scheduleRotation('orders', new Date(clock.now()));
  t.same(await manager.rotationManager.checkAndRotateCertificates(), ['orders']);
  t.same(await manager.rotationManager.checkAndRotateCertificates(), [], 'once');
  t.not(await serialOf('orders'), before[0]);
  t.equal(await serialOf('billing'), before[1]);
  t.match(manager.listAllCertificates().get('orders'), { type: 'database', additionalSans: ['orders.internal'] });
});

t.test('F20 a clock that jumped 61 days is noticed by the next tick', async (t) => {
  const clock = shiftedClock();
  const { log, lines } = recordingLog();
  await using manager = await openManager(await storageOf(t), clock, { log });
  const { leaf } = await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'cache' });
  clock.shift(61 * DAY);
  await until(async () => (await manager.store.load('orders'))?.leaf.serial !== leaf.serial);
  t.equal(lines.filter(({ event }) => event === 'certificate_issued').length, 2, 'without being asked');
});

t.test('a rotation that fails is logged, and the old files serve on', async (t) => {
  const clock = shiftedClock();
  const { log, lines } = recordingLog();
  await using manager = await openManager(await storageOf(t), clock, { log });
  const { leaf } = await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'cache' });
  manager.rotationManager.scheduleRotation('orders', 0);
  clock.shift(-HOUR);
  t.same(await manager.rotationManager.checkAndRotateCertificates(), []);
  t.equal((await manager.store.load('orders'))?.leaf.serial, leaf.serial);
  t.ok(lines.some(({ event, code }) => event === 'rotation_failed' && code === 'SL-CA-003'));
});

t.test('one directory cannot hold one name of two namespaces', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock());
  const request = { serviceName: 'orders', serviceType: 'cache' } as const;
  await manager.initializeServiceCertificate({ ...request, namespace: 'shop' });
  await t.rejects(manager.initializeServiceCertificate(request), { code: 'SL-NAME-004', why: /namespace shop/ });
  t.same([...manager.listAllCertificates().keys()], ['shop/orders']);
});

t.test('the namespace of the manager is closed to tokens and files', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock());
  const refused = { code: 'SL-NAME-004' };
  await t.rejects(manager.tokens.create({ service: 'manager', namespace: 'sidelock-system' }), refused);
  const request = { serviceName: 'manager', serviceType: 'cache', namespace: 'sidelock-system' } as const;
  await t.rejects(manager.initializeServiceCertificate(request), refused);
});

t.test('M9 a key is remembered for its identity across a restart', async (t) => {
  const storage = await storageOf(t);
  const key = await generateKey('ecdsa-p256');
  const enroll = async (service: string) => {
    await using manager = await openManager(storage, shiftedClock());
    const { token } = await manager.tokens.create({ service });
    return await manager.enroll({ token, csr: createCsr(key, service), remote: '127.0.0.1' });
  };
  await enroll('orders');
  await t.rejects(enroll('billing'), { code: 'SL-CSR-003', why: /sa\/orders/ });
});

t.test('with a passphrase the whole manager needs it', async (t) => {
  const storage = await storageOf(t);
  const ca = { passphrase: 'correct horse' };
  await (await openManager(storage, shiftedClock(), { ca }))[Symbol.asyncDispose]();
  await t.rejects(openManager(storage, shiftedClock()), { code: 'SL-CA-002' });
  await using manager = await openManager(storage, shiftedClock(), { ca });
  t.equal(manager.blockers().length, 0);
});

t.test('the x509 gauges show the newest certificate of each service and the CA', async (t) => {
  const metrics = createMetrics();
  await using manager = await openManager(await storageOf(t), shiftedClock(), { metrics });
  const { leaf } = await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'cache' });
  const { token } = await manager.tokens.create({ service: 'billing' });
  await manager.enroll({ token, csr: (await candidate('billing')).csr, remote: '127.0.0.1' });
  await t.rejects(manager.enroll({ token: 'slk_', csr: '', remote: '127.0.0.1' }));
  const text = await metrics.render();
  t.match(text, `x509_cert_not_after{service="orders",namespace="default",source="issued"} ${leaf.notAfter / 1000}`);
  t.match(
    text,
    `x509_cert_not_after{service="AI-Teddy-CA",namespace="",source="ca"} ${manager.ca.rootNotAfter / 1000}`,
  );
  t.match(text, /^x509_cert_not_before\{service="billing"/m);
  t.match(text, 'sidelock_issued_total{kind="generate"} 1');
  t.match(text, 'sidelock_issued_total{kind="token"} 1');
  t.match(text, 'sidelock_issued_total{kind="renew"} 0');
  t.match(text, 'sidelock_tokens_total{result="used"} 1');
  t.match(text, 'sidelock_tokens_total{result="refused"} 1');
  t.match(text, 'sidelock_issue_duration_seconds_count 2');
  t.match(text, /sidelock_build_info\{version="unknown",node="\d+/);
});

t.test('a damaged audit log is kept aside, and the manager goes on with a new one', async (t) => {
  const storage = await storageOf(t);
  await (await openManager(storage, shiftedClock()))[Symbol.asyncDispose]();
  const path = join(storage, '.sidelock/audit.log');
  await writeFile(path, (await readFile(path, 'utf8')).replace('ca_created', 'ca_deleted'));
  await using manager = await openManager(storage, shiftedClock());
  t.match(await readFile(path, 'utf8'), /"action":"audit_restarted"/);
  t.match(await verifyAudit(path, manager.audit.head()), { ok: true });
});

t.test('a pod has one certificate at a time, and that of another pod stays', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock());
  const certify = async (uid: string) => {
    const pod = { namespace: 'shop', serviceAccount: 'web', pod: `web-${uid}`, uid, dnsNames: [] };
    const csr = createCsr(await generateKey('ecdsa-p256'), '');
    return await manager.certifyPod({ pod, csr, validityMs: DAY });
  };
  const [first, other, second] = [await certify('1'), await certify('2'), await certify('1')];
  const supersededBy = (serial: string) =>
    manager.recentlyIssued(9).find((entry) => entry.serial === serial)?.supersededBy;
  t.same(
    [first, other, second].map(({ serial }) => supersededBy(serial)),
    [second.serial, undefined, undefined],
  );
});

t.test('a pod that repeats a request that another key has overtaken is left with one certificate', async (t) => {
  await using manager = await openManager(await storageOf(t), shiftedClock());
  const pod = { namespace: 'shop', serviceAccount: 'web', pod: 'web-1', uid: '1', dnsNames: [] };
  const csrs = await Promise.all([1, 2].map(async () => createCsr(await generateKey('ecdsa-p256'), '')));
  const counting = () =>
    manager
      .recentlyIssued(9)
      .filter((entry) => entry.service === 'web' && entry.supersededBy === undefined)
      .map(({ serial }) => serial);
  const certify = (csr = '') => manager.certifyPod({ pod, csr, validityMs: DAY });
  await certify(csrs[0]);
  await certify(csrs[1]);
  const again = await certify(csrs[0]);
  t.same(counting(), [again.serial]);
  t.equal((await certify(csrs[0])).serial, again.serial, 'in time it has the same answer');
});
