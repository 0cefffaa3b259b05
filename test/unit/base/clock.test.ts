import fc from 'fast-check';
import t from 'tap';
import { DAY, MINUTE, SECOND, sleepUntil, systemClock, systemRandom } from '../../../src/base/clock.ts';
import { isAbort } from '../../../src/base/errors.ts';
import { backoffDelay } from '../../../src/base/retry.ts';
import { fakeClock } from '../../support/fake-clock.ts';

const forever = new AbortController().signal;

t.test('a long wait looks at the clock every half minute, so a jump is noticed', async (t) => {
  const clock = fakeClock();
  let done = false;
  const waiting = sleepUntil(clock, clock.now() + 40 * DAY, forever).then(() => {
    done = true;
  });
  await clock.advance(MINUTE);
  t.notOk(done);
  t.ok(
    clock.sleeps.every((ms) => ms <= 30 * SECOND),
    'no timer that Node would fire at once',
  );
  clock.jump(40 * DAY);
  await clock.advance(30 * SECOND);
  await waiting;
  t.ok(done, 'at most 30 s after the clock was set forward');
});

t.test('a moment that has passed is not waited for, an abort ends the wait', async (t) => {
  const clock = fakeClock();
  await sleepUntil(clock, clock.now() - 1, forever);
  t.strictSame(clock.sleeps, []);
  const stop = new AbortController();
  const waiting = sleepUntil(systemClock, systemClock.now() + DAY, stop.signal);
  stop.abort();
  const error = await waiting.catch((caught: unknown) => caught);
  t.ok(isAbort(error));
  await t.rejects(sleepUntil(clock, 0, AbortSignal.abort()), { name: 'AbortError' }, 'also when there is nothing left');
});

t.test('back-off doubles up to its end, between half and whole', (t) => {
  const limits = { min: SECOND, max: 30 * SECOND };
  t.strictSame(
    [0, 1, 2, 5, 1_000_000].map((attempt) => backoffDelay(attempt, limits, () => 0)),
    [500, 1_000, 2_000, 15_000, 15_000],
  );
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, chance) => {
      const delay = backoffDelay(attempt, limits, () => chance);
      return delay >= limits.min / 2 && delay <= limits.max;
    }),
  );
  const chance = systemRandom();
  t.ok(chance >= 0 && chance < 1);
  t.end();
});
