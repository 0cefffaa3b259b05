import fc from 'fast-check';
import t from 'tap';
import { nextRenewal } from '../../../src/pki/renewal.ts';

const DAY = 86_400_000;

t.test('a long leaf is renewed by the threshold before its end', async (t) => {
  t.equal(
    nextRenewal({ notBefore: 0, notAfter: 90 * DAY }, 20 * DAY, () => 0),
    70 * DAY,
  );
});

t.test('a leaf shorter than the threshold is renewed after two thirds of its life, never at once', async (t) => {
  t.equal(
    nextRenewal({ notBefore: 0, notAfter: 90 * DAY }, 30 * DAY, () => 0),
    60 * DAY,
  );
  t.equal(
    nextRenewal({ notBefore: 3000, notAfter: 6000 }, 30 * DAY, () => 0),
    5000,
  );
});

t.test('jitter moves it earlier by up to 5 % of the time left', async (t) => {
  t.equal(
    nextRenewal({ notBefore: 0, notAfter: 90 * DAY }, 20 * DAY, () => 0.5),
    69.5 * DAY,
  );
});

t.test('it always lies inside the life, and not in its first half', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 40 }),
      fc.integer({ min: 1000, max: 4000 * DAY }),
      fc.integer({ min: 0, max: 400 * DAY }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (notBefore, life, threshold, random) => {
        const at = nextRenewal({ notBefore, notAfter: notBefore + life }, threshold, () => random);
        return Number.isInteger(at) && at >= notBefore + life / 2 && at <= notBefore + life;
      },
    ),
  );
  t.pass();
});
