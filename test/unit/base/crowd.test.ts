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
