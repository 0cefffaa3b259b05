import t from 'tap';
import { bend } from '../../../bench/bend.ts';
import { CURVES } from '../../../bench/curves.ts';
import { growthChart, renderCurve } from '../../../bench/growth-output.ts';
import { resultOf, sampleOf } from '../../support/bench-results.ts';

t.test('a curve bends where it leaves the straight line between its ends', (t) => {
  const saturating = [1, 2, 4, 8, 16, 32].map((x) => [x, Math.min(x, 8)] as const);
  t.equal(bend(saturating), 8);
  const peak = [1, 2, 4, 8, 16].map((x) => [x, x === 4 ? 100 : 10] as const);
  t.equal(bend(peak), 4);
  t.equal(bend([1, 2, 4, 8].map((x) => [x, Math.log2(x) * 5])), undefined, 'straight by doublings');
  t.equal(bend([1, 2, 4].map((x) => [x, 7])), undefined, 'flat');
  t.equal(
    bend([
      [1, 1],
      [2, 9],
    ]),
    undefined,
    'two points are a line',
  );
  t.equal(bend([]), undefined);
  t.end();
});

t.test('connections double from 1 to 1,024 and bodies from 1 to 64 KiB', (t) => {
  t.strictSame(
    CURVES.map(({ name, points }) => [name, points[0]?.x, points.at(-1)?.x]),
    [
      ['l4-connections', 1, 1024],
      ['l4-bodies', 1, 64],
      ['http-connections', 1, 1024],
      ['http-bodies', 1, 64],
    ],
  );
  t.end();
});

t.test('a curve is told point by point, with its bend and its faults once', (t) => {
  const [curve] = CURVES;
  if (curve === undefined) throw new Error('no curves');
  const points = [1, 2, 4].map((x) => ({
    x,
    measured: {
      scenario: `${x}`,
      results: [resultOf('sidelock', sampleOf(x === 1 ? 40 : 10))],
      faults: ['haproxy: does not listen'],
    },
  }));
  const text = renderCurve({ curve, points });
  t.match(text, /4 +1000 \/ 10\.0 us \/ 1\.5 ms\n/);
  t.match(text, /sidelock +nowhere +2 \(10\.0 us\) +nowhere\n/);
  t.equal(text.match(/does not listen/g)?.length, 1);
  t.equal(growthChart([{ curve, points }]).match(/<circle/g)?.length, 1);
  t.end();
});
