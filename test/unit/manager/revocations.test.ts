import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { DAY, MINUTE } from '../../../src/base/clock.ts';
import { readCrl } from '../../../src/pki/crl.ts';
import { readCrlSet } from '../../../src/pki/crl-set.ts';
import {
  candidate,
  openManager,
  recordingLog,
  shiftedClock,
  startRig,
  temporaryDirectory,
} from '../../support/manager/rig.ts';

t.test('a revoked leaf is on the list, marked, in the audit log, and renews no more, nor does its key', async (t) => {
  const rig = await startRig(t);
  const orders = await rig.enroll('orders');
  const { crl: before = { number: 0 } } = await rig.client(orders).news({ crl: 0, notices: 0 });
  const waiting = rig.client(orders).news({ crl: before.number, notices: 0 });
  const preview = await rig.admin.revoke({ service: 'orders', reason: 'keyCompromise', dryRun: true });
  t.match(preview.certificates, [{ serial: orders.leaf.serial }]);
  t.equal(preview.crlNumber, before.number, 'a dry run changes nothing');
  const done = await rig.admin.revoke({ service: 'orders', reason: 'keyCompromise' });
  t.match(done, { certificates: [{ serial: orders.leaf.serial }], crlNumber: Number });
  t.ok(done.crlNumber > before.number);
  const published = await readFile(join(rig.storage, 'crl.pem'), 'utf8');
  t.equal(readCrl(published, 'crl.pem').number, done.crlNumber, 'also as a file');
  const told = readCrl((await waiting).crl?.pem ?? '', 'answer');
  t.match(told.entries.get(orders.leaf.serial), { reason: 'keyCompromise' }, 'who waited was told');
  t.match((await rig.admin.showCertificate('orders')).certificate, { revocationReason: 'keyCompromise' });
  t.same((await rig.admin.revoke({ service: 'orders', reason: 'superseded' })).certificates, [], 'once');
  t.match(await rig.metrics.render(), /sidelock_crl_revoked 1\n[\s\S]*x509_crl_next_update \d+/);

  const { csr } = await candidate('orders');
  await t.rejects(rig.client(orders).renew(csr), { code: 'SL-API-002', why: /revoked/ });
  await rig.pass(orders.leaf.notAfter - rig.clock.now() + MINUTE);
  await t.rejects(rig.client(orders).renew(csr), { code: 'SL-API-002', why: /revoked/ }, 'nor within the grace');
  await t.rejects(rig.admin.revoke({ service: 'nobody', reason: 'superseded' }), { code: 'SL-STORE-001' });
});

t.test('a restart keeps what was revoked and the number rising; a damaged file stops the start', async (t) => {
  const storage = join(await temporaryDirectory(t), 'store');
  const clock = shiftedClock();
  const first = await openManager(storage, clock);
  const { leaf } = await first.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' });
  const { crlNumber } = await first.revocations.revoke({ serial: leaf.serial.toUpperCase(), reason: 'superseded' });
  await first[Symbol.asyncDispose]();
  const second = await openManager(storage, clock);
  t.ok(second.revocations.crl().number > crlNumber);
  t.match(second.revocations.crl().entries.get(leaf.serial), { reason: 'superseded' });
  const { number, nextUpdate } = second.revocations.crl();
  clock.shift(2 * DAY);
  const later = await second.revocations.newerThan(number, AbortSignal.timeout(10_000));
  t.ok(later.number > number && later.nextUpdate > nextUpdate, 'a new list comes long before the old one ends');
  await second[Symbol.asyncDispose]();
  await writeFile(join(storage, '.sidelock', 'revocations.json'), '{"number":');
  await t.rejects(openManager(storage, clock), { code: 'SL-STORE-003' });
});

t.test('30,000 revocations: the manager starts, and a sidecar gets the list', async (t) => {
  const rig = await startRig(t);
  const orders = await rig.enroll('orders');
  const storage = join(await temporaryDirectory(t), 'store');
  const clock = shiftedClock();
  await (await openManager(storage, clock))[Symbol.asyncDispose]();
  const until = clock.now() + 90 * DAY;
  const revoked = Array.from({ length: 30_000 }, (_, i) => [serial(i), 'keyCompromise', clock.now(), until]);
  await writeFile(join(storage, '.sidelock', 'revocations.json'), JSON.stringify({ number: 1, revoked }));
  const began = performance.now();
  await using manager = await openManager(storage, clock);
  const { pem, number } = manager.revocations.crl();
  t.comment(`${Math.round(performance.now() - began)} ms to start, ${pem.length} bytes of PEM`);
  t.equal(readCrlSet(pem, 'answer').entries.get(serial(29_999))?.reason, 'keyCompromise');
  t.ok(number > 1_700_000_000, 'numbers go by the clock, so that one of an old backup is no rollback');

  rig.manager.revocations.crl = manager.revocations.crl;
  const { crl } = await rig.client(orders).news({ crl: 1, notices: 0 });
  t.equal(crl?.pem, pem, 'as a whole');
});

function serial(i: number): string {
  return (0x10000000000000000000000000000000n + BigInt(i)).toString(16);
}

t.test(
  'M43 an older copy of the storage revokes what the journal has, and its lists are above all that were',
  async (t) => {
    const storage = join(await temporaryDirectory(t), 'store');
    const state = join(storage, '.sidelock');
    const clock = shiftedClock();
    const first = await openManager(storage, clock);
    const [orders, billing] = [
      await first.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' }),
      await first.initializeServiceCertificate({ serviceName: 'billing', serviceType: 'api_service' }),
    ];
    await first.revocations.revoke({ serial: billing.leaf.serial, reason: 'superseded' });
    const yesterday = await readFile(join(state, 'revocations.json'));
    await first.revocations.revoke({ serial: orders.leaf.serial, reason: 'keyCompromise' });
    clock.shift(MINUTE);
    for (let i = 0; i < 5; i++) await first.revocations.renew();
    const { number } = first.revocations.crl();
    await first[Symbol.asyncDispose]();

    await writeFile(join(state, 'revocations.json'), yesterday);
    clock.shift(MINUTE);
    const { log, lines } = recordingLog();
    await using second = await openManager(storage, clock, { log });
    t.match(second.revocations.get(orders.leaf.serial), { reason: 'keyCompromise' });
    t.match(second.revocations.crl().entries.get(orders.leaf.serial), { reason: 'keyCompromise' });
    t.equal(second.revocations.crl().entries.size, 2);
    t.ok(second.revocations.crl().number > number, 'sidecars that saw the later ones take it');
    t.match(
      lines.filter(({ event }) => event === 'revocations_recovered'),
      [{ count: 1 }],
    );
  },
);
