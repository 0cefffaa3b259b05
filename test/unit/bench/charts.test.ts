import t from 'tap';
import { barChart } from '../../../bench/charts/bars.ts';
import { lineChart } from '../../../bench/charts/lines.ts';
import { picture, text, ticks } from '../../../bench/charts/svg.ts';

t.test('ticks are round, few, and reach the largest value', (t) => {
  t.strictSame(ticks(100), [0, 25, 50, 75, 100]);
  t.strictSame(ticks(0.7), [0, 0.2, 0.4, 0.6, 0.8]);
  t.strictSame(ticks(12_345), [0, 5000, 10_000, 15_000]);
  t.strictSame(ticks(0), [0, 1]);
  t.strictSame(ticks(Number.NaN), [0, 1]);
  t.end();
});

t.test('names cannot become markup', (t) => {
  const svg = picture(10, 10, 'a & "b"', text(0, 0, '<script>'));
  t.notMatch(svg, '<script>');
  t.match(svg, '&#60;script&#62;');
  t.match(svg, '<title>a &#38; &#34;b&#34;</title>');
  t.end();
});

t.test('bars are as long as their values, with a line from the least run to the most', (t) => {
  const bar = (name: string, value: number) => ({ name, value, least: value - 1, most: value });
  const svg = barChart('all', [{ title: 'one', caption: 'us', bars: [bar('sidelock', 10), bar('haproxy', 20)] }]);
  const widths = [...svg.matchAll(/<rect x="110" y="\d+" width="([\d.]+)"/g)].map((m) => Number(m[1]));
  t.strictSame(widths, [155, 310]);
  t.match(svg, '<line x1="404.5" y1="67" x2="420" y2="67"');
  t.end();
});

t.test('a line has its points evenly spaced by doublings, and a ring where it bends', (t) => {
  const points = [
    [1, 0],
    [2, 10],
    [4, 10],
  ] as const;
  const svg = lineChart('all', [
    [{ title: 'one', axis: 'connections', lines: [{ name: 'sidelock', points, bend: 2 }] }],
  ]);
  t.match(svg, 'points="52.0,154.0 192.0,24.0 332.0,24.0"');
  t.match(svg, '<circle cx="192" cy="24"');
  t.notMatch(lineChart('none', [[]]), 'NaN');
  t.notMatch(lineChart('flat', [[{ title: '', axis: '', lines: [{ name: 'x', points: [[1, 0]] }] }]]), 'NaN');
  t.end();
});
