import t from 'tap';
import { heaviest } from '../../../src/sidecar/heaviest.ts';

t.test('the heavier come first, the light not at all', (t) => {
  const KIB = 1 << 10;
  const all = [0, 1, 15 * KIB, 16 * KIB, 300 * KIB, 17 * KIB, 70 * KIB, 2 ** 40].map((bytes) => ({ bytes }));
  const found = heaviest(all, ({ bytes }) => bytes);
  t.same(
    found.map(({ waiting }) => waiting),
    [2 ** 40, 300 * KIB, 70 * KIB, 16 * KIB, 17 * KIB],
  );
  t.ok(found.every(({ one, waiting }) => one.bytes === waiting && all.includes(one)));
  t.same(heaviest([], Number), []);
  t.end();
});
