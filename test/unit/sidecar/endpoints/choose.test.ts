import t from 'tap';
import { choose, isEven } from '../../../../src/sidecar/endpoints/choose.ts';

/** The same numbers each time, spread evenly enough. */
function sequence() {
  let x = 1;
  return () => {
    x = (x * 48_271) % 2_147_483_647;
    return x / 2_147_483_647;
  };
}

function counts(capacities: readonly number[], rounds: number, step: (all: Array<{ active: number }>) => void) {
  const all = capacities.map((capacity) => ({ active: 0, capacity, picked: 0 }));
  const random = sequence();
  const even = isEven(all);
  for (let i = 0; i < rounds; i++) {
    const one = choose(all, random, even);
    if (one === undefined) throw new Error('there are some');
    one.picked++;
    one.active++;
    step(all);
  }
  return all;
}

t.test('none, one, and one that is less busy', async (t) => {
  const random = () => {
    throw new Error('there is nothing to choose');
  };
  t.equal(choose([], random, true), undefined);
  const one = { active: 9, capacity: 1 };
  t.equal(choose([one], random, true), one);
  const idle = { active: 0, capacity: 1 };
  for (const n of [0, 0.3, 0.6, 0.99])
    t.equal(
      choose([one, idle], () => n, true),
      idle,
    );
});

t.test('what stays is spread to within one or two', async (t) => {
  const all = counts([1, 1, 1, 1, 1], 1_000, () => {});
  const busy = all.map(({ active }) => active);
  t.ok(Math.max(...busy) - Math.min(...busy) <= 4, busy.join(' '));
});

t.test('by capacity, whether there is much to do or nothing', async (t) => {
  const busy = counts([1, 3], 400, () => {}).map(({ picked }) => picked);
  t.strictSame(busy, [100, 300]);
  const idle = counts([0.1, 1, 1], 2_100, (all) => {
    for (const one of all) one.active = 0;
  }).map(({ picked }) => picked);
  t.ok((idle[0] ?? 0) > 50 && (idle[0] ?? 0) < 150, idle.join(' '));
});
