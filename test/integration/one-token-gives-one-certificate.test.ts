import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { verifyAudit } from '../../src/manager/audit-verify.ts';
import { createCsr } from '../../src/pki/csr.ts';
import { generateKey, privateKeyFromPem } from '../../src/pki/keys.ts';
import { candidate, openManager, shiftedClock, startRig, temporaryDirectory } from '../support/manager/rig.ts';

const run = promisify(execFile);
const CHILD = join(import.meta.dirname, '../support/manager/enrol-child.ts');
const remote = '127.0.0.1';
const MINUTE = 60_000;

async function auditOf(storage: string): Promise<Array<Record<string, unknown>>> {
  const text = await readFile(join(storage, '.sidelock/audit.log'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const issuedFor = async (storage: string) =>
  (await auditOf(storage)).filter(({ action, service }) => action === 'certificate_issued' && service !== 'manager');

t.test('a sidecar enrols over the network and its certificate is recorded', async (t) => {
  const rig = await startRig(t);
  const identity = await rig.enroll('orders');
  t.equal(identity.spiffeId.uri, 'spiffe://ai-teddy.local/ns/default/sa/orders');
  const audit = await auditOf(rig.storage);
  t.same(
    audit.map(({ action }) => action),
    ['ca_created', 'certificate_issued', 'token_created', 'token_used', 'certificate_issued'],
  );
  t.match(audit.at(-1), { actor: /^token:[0-9a-f]{8}$/, remote, service: 'orders', serial: identity.leaf.serial });
  t.match(await verifyAudit(join(rig.storage, '.sidelock/audit.log'), rig.manager.audit.head()), { ok: true });
  t.match(rig.manager.listAllCertificates().get('orders'), { serial: identity.leaf.serial, by: 'token' });
});

t.test('M20 a hundred parallel uses with a hundred keys give one certificate', async (t) => {
  const rig = await startRig(t, { limits: { refusedTokens: { burst: 200, perSecond: 1 }, maxSigning: 200 } });
  const { token } = await rig.manager.tokens.create({ service: 'orders' });
  const requests = await Promise.all(Array.from({ length: 100 }, () => candidate('orders')));
  const results = await Promise.allSettled([
    ...requests.slice(0, 80).map(({ csr }) => rig.manager.enroll({ token, csr, remote })),
    ...requests.slice(80).map(({ csr }) => rig.client().enroll(token, csr)),
  ]);
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  const codes = new Set(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : [])));
  t.same([...codes], ['SL-TOK-002']);
  t.equal((await issuedFor(rig.storage)).length, 1);
});

t.test('M41 a hundred repetitions with one key, and one after a restart, get the same certificate', async (t) => {
  const storage = join(await temporaryDirectory(t), 'store');
  const clock = shiftedClock();
  const { csr } = await candidate('orders');
  const first = await openManager(storage, clock);
  const { token } = await first.tokens.create({ service: 'orders' });
  const entries = await Promise.all(Array.from({ length: 100 }, () => first.enroll({ token, csr, remote })));
  const serials = new Set(entries.map(({ serial }) => serial));
  t.equal(serials.size, 1);
  await first[Symbol.asyncDispose]();

  await using again = await openManager(storage, clock);
  t.ok(serials.has((await again.enroll({ token, csr, remote })).serial));
  clock.shift(MINUTE);
  await t.rejects(again.enroll({ token, csr, remote }), { code: 'SL-TOK-002' }, 'a minute later it is a second use');
  t.equal((await issuedFor(storage)).length, 1);
});

t.test('M20 kill -9 anywhere between use and signature: never two certificates', async (t) => {
  const directory = await temporaryDirectory(t);
  const storage = join(directory, 'store');
  const clock = shiftedClock();
  const outcomes: string[] = [];
  for (let nth = 1; nth <= 40; nth++) {
    const service = `s${nth}`;
    const { csr } = await candidate(service);
    const tokenFile = join(directory, 'token');
    const csrFile = join(directory, 'csr');
    {
      await using manager = await openManager(storage, clock);
      await writeFile(tokenFile, (await manager.tokens.create({ service })).token);
      await writeFile(csrFile, csr);
    }
    const child = await run(process.execPath, [CHILD, storage, `${nth}`, tokenFile, csrFile]).catch(
      (error: { signal?: string; stderr?: string }) => error,
    );
    if ('stdout' in child && child.stdout === 'done') break;
    t.equal('signal' in child && child.signal, 'SIGKILL', `point ${nth}: ${'stderr' in child ? child.stderr : ''}`);

    await using manager = await openManager(storage, clock);
    const token = await readFile(tokenFile, 'utf8');
    const used = (await manager.tokens.list()).find((record) => record.service === service)?.state === 'used';
    const recorded = manager.listAllCertificates().has(service);
    const again = await manager.enroll({ token, csr: (await candidate(service)).csr, remote }).then(
      () => 'accepted',
      (error: { code?: string }) => error.code,
    );
    t.equal(again, used ? 'SL-TOK-002' : 'accepted', `point ${nth}: a used token stays used, an unused one works`);
    t.notOk(recorded && !used, `point ${nth}: no certificate without a used token`);
    outcomes.push(used ? (recorded ? 'after' : 'between') : 'before');
  }
  t.ok(outcomes.length >= 6, `${outcomes.length} points`);
  for (const where of ['before', 'between', 'after']) t.ok(outcomes.includes(where), `a crash ${where} the signature`);
  const perService = Map.groupBy(await issuedFor(storage), ({ service }) => service);
  t.ok([...perService.values()].every((lines) => lines.length === 1));
  const serials = (await readdir(join(storage, '.sidelock/inventory'))).length;
  t.ok(serials <= outcomes.length + 1, 'at most one certificate a token');
});

t.test('M21 a token is not used up by the wrong service, a bad request or a foreign key', async (t) => {
  const rig = await startRig(t);
  const { token } = await rig.manager.tokens.create({ service: 'orders', namespace: 'shop' });
  const { csr } = await candidate('orders');
  const ask = (change: object) => rig.manager.enroll({ token, csr, remote, ...change });
  await t.rejects(ask({ service: 'billing' }), { code: 'SL-TOK-004' });
  await t.rejects(ask({ service: 'orders', namespace: 'default' }), { code: 'SL-TOK-004' });
  await t.rejects(ask({ csr: csr.replace(/.{8}(=*\n-----END)/, 'AAAAAAAA$1') }), { code: /SL-CSR-/ });
  const taken = await candidate('billing');
  const billing = await rig.manager.tokens.create({ service: 'billing' });
  await rig.manager.enroll({ token: billing.token, csr: taken.csr, remote });
  await t.rejects(ask({ csr: taken.csr }), { code: 'SL-CSR-003' }, 'M9 the key of another identity');
  const entry = await ask({ service: 'orders', namespace: 'shop' });
  t.equal(entry.spiffeId, 'spiffe://ai-teddy.local/ns/shop/sa/orders');
});

t.test('M30 an enrolment that somebody recorded gives a certificate to nobody else', async (t) => {
  const rig = await startRig(t);
  const { token } = await rig.manager.tokens.create({ service: 'orders' });
  const own = await candidate('orders');
  const { certificate } = await rig.client().enroll(token, own.csr);
  t.equal((await rig.client().enroll(token, own.csr)).certificate, certificate, 'replayed: the key is not in it');
  await t.rejects(
    rig.client().enroll(token, (await candidate('orders')).csr),
    { code: 'SL-TOK-002' },
    'with another key',
  );
  rig.clock.shift(2 * MINUTE);
  await t.rejects(rig.client().enroll(token, own.csr), { code: 'SL-TOK-002' }, 'nor later');
  t.equal((await issuedFor(rig.storage)).length, 1);
});

t.test('M9 the key of the CA is nobody’s', async (t) => {
  const storage = join(await temporaryDirectory(t), 'store');
  await using manager = await openManager(storage, shiftedClock());
  const key = privateKeyFromPem(await readFile(join(storage, '.sidelock/ca/root.key')), 'root.key');
  const { token } = await manager.tokens.create({ service: 'orders' });
  await t.rejects(manager.enroll({ token, csr: createCsr(key, 'orders'), remote }), { code: 'SL-CSR-003' });
});

t.test('M1 names in a request are ignored and noted', async (t) => {
  const rig = await startRig(t);
  const { token } = await rig.manager.tokens.create({ service: 'orders', additionalSans: ['orders.example'] });
  const key = await generateKey('ecdsa-p256');
  const entry = await rig.manager.enroll({ token, csr: createCsr(key, 'payments'), remote });
  t.equal(entry.service, 'orders');
  t.ok(entry.sans.includes('orders.example'), 'names that the operator gave are there');
  t.notOk(entry.sans.some((name) => name.includes('payments')));
  t.match(
    (await auditOf(rig.storage)).find(({ action }) => action === 'csr_names_ignored'),
    { service: 'orders', why: 'payments', actor: /^token:/ },
  );
});

t.test('each refusal is a line of the audit log', async (t) => {
  const rig = await startRig(t);
  const { token } = await rig.manager.tokens.create({ service: 'orders', ttlMs: MINUTE });
  const { csr } = await candidate('orders');
  await t.rejects(rig.manager.enroll({ token: 'slk_x.y', csr, remote }), { code: 'SL-TOK-001' });
  await t.rejects(rig.manager.enroll({ token, csr: 'hello', remote }));
  rig.clock.shift(MINUTE);
  await t.rejects(rig.manager.enroll({ token, csr, remote }), { code: 'SL-TOK-003' });
  const refused = (await auditOf(rig.storage)).filter(({ result }) => result === 'refused');
  t.match(refused, [
    { action: 'token_refused', actor: 'token', why: 'SL-TOK-001', remote },
    { action: 'certificate_refused', service: 'orders', remote },
    { action: 'token_refused', why: 'SL-TOK-003' },
  ]);
});
