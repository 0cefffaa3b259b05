import t from 'tap';
import { roughly, table } from '../../../src/cli/table.ts';

t.test('columns with two spaces, headers in capitals, nothing trailing', async (t) => {
  const rows = [
    ['orders', '29 d', ''],
    ['a-long-name', '5 h', 'x'],
  ];
  t.equal(
    table(['service', 'left', 'note'], rows, { width: undefined }),
    'SERVICE      LEFT  NOTE\norders       29 d\na-long-name  5 h   x\n',
  );
  t.equal(table(['a'], [['1']], { width: undefined, headers: false }), '1\n');
});

t.test('cut to the terminal, never in a pipe, and nothing moves the cursor', async (t) => {
  t.equal(table(['name'], [['x'.repeat(50)]], { width: 10 }), `NAME\n${'x'.repeat(10)}\n`);
  t.equal(table(['name'], [['\u001b[2J']], { width: undefined }), 'NAME\n\\x1b[2J\n');
});

t.test('spans in one unit', async (t) => {
  const of = { 400: '0 s', 12000: '12 s', 180000: '3 min', 18000000: '5 h', 2505600001: '29 d', '-7200000': '2 h' };
  for (const [ms, text] of Object.entries(of)) t.equal(roughly(Number(ms)), text);
});
