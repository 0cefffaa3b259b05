import t from 'tap';
import { parseDuration } from '../../../src/config/units.ts';

t.test('durations with units, alone and together', async (t) => {
  t.equal(parseDuration('300ms'), 300);
  t.equal(parseDuration('5s'), 5_000);
  t.equal(parseDuration('1h30m'), 5_400_000);
  t.equal(parseDuration('90d'), 7_776_000_000);
  t.equal(parseDuration('0s'), 0);
});

t.test('what is no duration is refused with what to write', async (t) => {
  t.match(parseDuration('10'), { problem: 'has no unit; write 10s, 10m, 10h or 10d' });
  t.match(parseDuration('PT10M'), { problem: /ISO 8601/ });
  for (const text of ['', 'd', '-5s', '1.5h', '5 s', '5y', '1e3s', '5S'])
    t.match(parseDuration(text), { problem: String }, text);
});
