import t from 'tap';
import { addressKey, createRateLimiter } from '../../../src/api/rate-limit.ts';
import { fakeClock } from '../../support/fake-clock.ts';

t.test('a burst is let through, then one for each share of a second', async (t) => {
  const clock = fakeClock();
  const limiter = createRateLimiter({ burst: 3, perSecond: 2 }, clock);
  t.same(
    [1, 2, 3, 4].map(() => limiter.take('a')),
    [0, 0, 0, 500],
  );
  t.equal(limiter.take('b'), 0, 'another caller has a bucket of its own');
  clock.jump(500);
  t.equal(limiter.take('a'), 0);
  t.equal(limiter.take('a'), 500);
});

t.test('looking does not take', async (t) => {
  const limiter = createRateLimiter({ burst: 1, perSecond: 1 }, fakeClock());
  t.equal(limiter.wait('a'), 0);
  t.equal(limiter.wait('a'), 0);
  t.equal(limiter.take('a'), 0);
  t.equal(limiter.wait('a'), 1000);
});

t.test('a clock set back neither fills nor empties a bucket', async (t) => {
  const clock = fakeClock();
  const limiter = createRateLimiter({ burst: 1, perSecond: 1 }, clock);
  limiter.take('a');
  clock.jump(-3_600_000);
  t.equal(limiter.take('a'), 1000);
  clock.jump(1000);
  t.equal(limiter.take('a'), 0);
});

t.test('a caller who changes its address fills no memory without end', async (t) => {
  const limiter = createRateLimiter({ burst: 2, perSecond: 1 }, fakeClock());
  limiter.take('first');
  limiter.take('first');
  for (let i = 0; i < 10_000; i++) limiter.take(`other ${i}`);
  t.equal(limiter.take('first'), 0, 'the bucket unused for longest was forgotten');
});

t.test('one IPv6 host is one caller, whatever it makes of its /64', async (t) => {
  t.equal(addressKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2');
  t.equal(addressKey('2001:db8:1:2::9'), '2001:db8:1:2');
  t.equal(addressKey('2001:db8::9'), '2001:db8:0:0');
  t.equal(addressKey('::1'), '0:0:0:0');
  t.equal(addressKey('::ffff:10.1.2.3'), '10.1.2.3');
  t.equal(addressKey('10.1.2.3'), '10.1.2.3');
  t.equal(addressKey(undefined), 'unknown');
});
