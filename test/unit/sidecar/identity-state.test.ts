import t, { type Test } from 'tap';
import { DAY, HOUR, MINUTE, SECOND } from '../../../src/base/clock.ts';
import { Readiness } from '../../../src/base/lifecycle.ts';
import { createIdentityHolder } from '../../../src/sidecar/identity.ts';
import { trackIdentity } from '../../../src/sidecar/identity-state.ts';
import { fakeClock, settle } from '../../support/fake-clock.ts';
import { fakeMaterial, recordingLog } from '../../support/identity-fakes.ts';

function start(t: Test) {
  const clock = fakeClock();
  const { log, events } = recordingLog();
  const readiness = new Readiness();
  const holder = createIdentityHolder({ log });
  const stop = new AbortController();
  const state = trackIdentity({ reader: holder, readiness, clock, log, signal: stop.signal });
  t.teardown(() => stop.abort());
  const offer = (serial: string, life: number) =>
    holder.offer(fakeMaterial(serial, { notBefore: clock.now(), notAfter: clock.now() + life }));
  return { clock, events, readiness, state, stop, offer, why: () => readiness.blockers()[0]?.why };
}

t.test('not ready without an identity, with the reasons of both sides', async (t) => {
  const { state, why, readiness, offer } = start(t);
  t.equal(why(), 'no certificate yet');
  state.trouble('disk', 'key.pem is missing');
  state.trouble('manager', 'not reachable');
  t.equal(why(), 'key.pem is missing; not reachable');
  state.trouble('disk', undefined);
  t.equal(why(), 'not reachable');
  offer('a', DAY);
  t.ok(readiness.ready, 'the moment there is one');
});

t.test('F9: not ready from the end of the leaf until there is another', async (t) => {
  const { clock, state, readiness, why, offer, events } = start(t);
  offer('a', HOUR + 7);
  await clock.advance(HOUR + 6);
  t.ok(readiness.ready);
  state.trouble('manager', 'the manager is not reachable');
  await clock.advance(1);
  t.notOk(readiness.ready);
  t.match(why(), /^our certificate expired at 2026-11-24T01:00:00.007Z; the manager is not reachable$/);
  await clock.advance(10 * MINUTE);
  t.equal(events('identity_expired').length, 1, 'one line');
  t.match(events('identity_expired'), [{ level: 50, code: 'SL-CERT-001', serial: 'a' }]);
  offer('b', HOUR);
  t.ok(readiness.ready);
  await clock.advance(HOUR);
  t.notOk(readiness.ready);
  t.equal(events('identity_expired').length, 2);
});

t.test('F20: a clock that jumps is noticed within 30 s, in both directions', async (t) => {
  const { clock, readiness, offer } = start(t);
  offer('a', 90 * DAY);
  await settle();
  clock.jump(91 * DAY);
  await clock.advance(30 * SECOND);
  t.notOk(readiness.ready);
  clock.jump(-91 * DAY);
  await clock.advance(30 * SECOND);
  t.ok(readiness.ready);
  t.ok(Math.max(...clock.sleeps) <= 30 * SECOND);
});

t.test('F9: warns 7 days, 1 day and 1 hour before the end, once each', async (t) => {
  const { clock, offer, events } = start(t);
  offer('a', 90 * DAY);
  clock.jump(82 * DAY);
  await clock.advance(30 * SECOND);
  t.equal(events('identity_expiring').length, 0);
  for (let hour = 0; hour < 8 * 24; hour++) {
    clock.jump(HOUR - 30 * SECOND);
    await clock.advance(30 * SECOND - 1);
  }
  t.same(
    events('identity_expiring').map(({ secondsLeft }) => Math.round(Number(secondsLeft) / 3600)),
    [168, 24, 1],
  );
});

t.test('a short leaf is no alarm for being short', async (t) => {
  const { clock, offer, events } = start(t);
  offer('a', HOUR);
  await clock.advance(HOUR - SECOND);
  t.equal(events('identity_expiring').length, 0);
});

t.test('ends with the signal', async (t) => {
  const { clock, stop, events } = start(t);
  await settle();
  stop.abort();
  await settle();
  t.equal(clock.sleeping, 0);
  t.same(events('internal_error'), []);
});
