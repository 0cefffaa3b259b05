import t from 'tap';
import { Health } from '../../../../src/sidecar/endpoints/health.ts';

const OPTIONS = { failures: 3, timeMs: 1_000, share: 0.5 };

t.test('failures count in a row and by what they are', async (t) => {
  const health = new Health();
  t.notOk(health.failed('connect', 3));
  t.notOk(health.failed('handshake', 3));
  t.notOk(health.failed('gateway', 3));
  health.succeeded('connect');
  t.notOk(health.failed('connect', 3), 'the row was ended');
  t.notOk(health.failed('gateway', 3));
  t.ok(health.failed('gateway', 3), 'connects that succeed say nothing about answers');
  t.ok(new Health().failed('wrong_identity', 3), 'once is enough');
});

t.test('out for a time, back by degrees, and out for twice as long at the first failure then', async (t) => {
  const health = new Health();
  t.equal(health.eject(0, OPTIONS), 1_000);
  t.equal(health.ejectedUntil, 1_000);
  t.notOk(health.failed('connect', 1), 'it is out already');
  t.notOk(health.tick(999, OPTIONS));
  t.ok(health.tick(1_000, OPTIONS));
  t.strictSame([health.state, health.share], ['returning', 0.1]);
  health.tick(1_500, OPTIONS);
  t.equal(health.share, 0.5);
  t.ok(health.failed('connect', 3));
  t.equal(health.eject(1_500, OPTIONS), 2_000);
  health.tick(3_500, OPTIONS);
  health.tick(4_500, OPTIONS);
  t.strictSame([health.state, health.share], ['usable', 1]);
});

t.test('its past is forgotten step by step while it does well, and its time has an end', async (t) => {
  const health = new Health();
  let now = 0;
  for (let i = 0; i < 20; i++) health.eject(now, OPTIONS);
  t.equal(health.eject(now, OPTIONS), 300_000);
  for (; now < 3 * 60 * 60_000; now += 1_000) health.tick(now, OPTIONS);
  t.equal(health.eject(now, OPTIONS), 1_000);
});
