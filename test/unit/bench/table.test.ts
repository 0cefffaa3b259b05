import t from 'tap';
import { bars, markdownTable, table } from '../../../bench/table.ts';

const ROWS = [
  ['', 'a'],
  ['name', '12'],
];

t.test('columns line up, as text and as Markdown', (t) => {
  t.equal(table(ROWS), '         a\n  name  12\n');
  t.equal(markdownTable(ROWS), '|  | a |\n| --- | --- |\n| name | 12 |\n');
  t.end();
});

t.test('the longest bar is the largest value', (t) => {
  const [first, second] = bars([
    { name: 'x', value: 10, unit: 'us' },
    { name: 'yy', value: 5, unit: 'us' },
  ]).split('\n');
  t.equal(first?.match(/█/g)?.length, 48);
  t.equal(second?.match(/█/g)?.length, 24);
  t.end();
});
