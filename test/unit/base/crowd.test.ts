import t from 'tap';
import { Crowd } from '../../../src/base/crowd.ts';

t.test('who entered is met until he leaves, at his place, which then is free for another', async (t) => {
  const crowd = new Crowd<string>();
  const [a, b, c] = [crowd.enter('a'), crowd.enter('b'), crowd.enter('c')];
  t.same([...crowd].sort(), ['a', 'b', 'c']);
  crowd.leave(b);
  t.same([...crowd].sort(), ['a', 'c']);
  t.equal(crowd.at(b), undefined);
  const d = crowd.enter('d');
  t.equal(d, b);
  t.same(
    [a, c, d].map((place) => crowd.at(place)),
    ['a', 'c', 'd'],
  );
});

t.test('after many there is room for few, and each has a place of its own', async (t) => {
  const crowd = new Crowd<number>();
  // Which of them leave first is as chance has it, but the same each time.
  let chance = 1;
  const next = (below: number) => {
    chance = (chance * 48_271) % 0x7fff_ffff;
    return chance % below;
  };
  const here = new Map<number, number>();
  const enter = (n: number) => here.set(n, crowd.enter(n));
  const leave = () => {
    const [n, place] = [...here][next(here.size)] ?? [-1, -1];
    crowd.leave(place);
    here.delete(n);
  };
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 400; i++) enter(round * 400 + i);
    for (let i = next(800); i > 0 && here.size > 0; i--) leave();
    t.same([...crowd].sort(), [...here.keys()].sort());
    t.equal(new Set(here.values()).size, here.size);
    t.ok([...here].every(([n, place]) => crowd.at(place) === n));
  }
  while (here.size > 0) leave();
  for (let i = 0; i < 1_024; i++) enter(i);
  t.ok(
    [...here.values()].every((place) => place < 1_024),
    'no place beyond is left over',
  );
});

t.test('they may enter and leave while they are looked at', async (t) => {
  const crowd = new Crowd<number>();
  const places = [1, 2, 3, 4].map((n) => crowd.enter(n));
  const met: number[] = [];
  for (const n of crowd) {
    met.push(n);
    if (n === 1) {
      crowd.leave(places[1] ?? -1);
      crowd.leave(places[0] ?? -1);
      crowd.enter(5);
    }
  }
  t.same(
    met.filter((n) => n < 5),
    [1, 3, 4],
  );
  t.same([...crowd].sort(), [3, 4, 5]);
});
