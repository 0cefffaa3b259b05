import t from 'tap';
import { cpuOf, parseCpu, parsePss, pssBytes } from '../../../bench/proc.ts';

const linux = process.platform === 'linux' ? false : 'there is no /proc here';

t.test('utime and stime behind a name with spaces and parentheses', (t) => {
  t.same(parseCpu('42 (a b) 1 (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 9'), { all: 2_000_000, kernel: 500_000 });
  t.throws(() => parseCpu('42 (short) S'), TypeError);
  t.end();
});

t.test('PSS of a rollup', (t) => {
  t.equal(parsePss('5500 [rollup]\nRss:  100 kB\nPss:      64 kB\nPss_Dirty:  32 kB\n'), 65_536);
  t.throws(() => parsePss('Rss: 100 kB\n'), TypeError);
  t.end();
});

t.test('figures of a real process', { skip: linux }, (t) => {
  const before = cpuOf(process.pid).all;
  while (cpuOf(process.pid).all === before);
  t.ok(cpuOf(process.pid).all - before >= 10_000, 'counts up by ticks of 10 ms');
  t.ok(pssBytes(process.pid) > 1e6);
  t.end();
});
