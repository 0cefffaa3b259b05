import t from 'tap';
import { median, percentile, spread } from '../../../bench/statistics.ts';

t.test('percentile by nearest rank, whatever the order', (t) => {
  const values = [50, 15, 40, 20, 35];
  t.equal(percentile(values, 5), 15);
  t.equal(percentile(values, 30), 20);
  t.equal(percentile(values, 40), 20);
  t.equal(percentile(values, 50), 35);
  t.equal(percentile(values, 100), 50);
  t.equal(percentile([7], 99), 7);
  t.strictSame(values, [50, 15, 40, 20, 35], 'left as they were');
  t.throws(() => percentile([], 50), RangeError);
  t.end();
});

t.test('percentile sorts numbers as numbers', (t) => {
  t.equal(percentile([9, 10, 100], 34), 10);
  t.end();
});

t.test('median and spread', (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.throws(() => median([]), RangeError);
  t.equal(spread([9, 10, 12]), 0.15);
  t.equal(spread([0, 0]), 0);
  t.ok(Number.isNaN(spread([9])), 'one run says nothing of others');
  t.end();
});
