import t from 'tap';
import { SECOND } from '../../../src/base/clock.ts';
import { createHandshakeBudget } from '../../../src/sidecar/handshake-budget.ts';
import { createPace } from '../../../src/sidecar/pace.ts';
import { fakeClock } from '../../support/fake-clock.ts';

const count = (most: number, one: () => boolean) => {
  let n = 0;
  while (n < most && one()) n++;
  return n;
};

t.test('an address has four seconds of failures at once, and its rate from then on', async (t) => {
  const clock = fakeClock();
  const budget = createHandshakeBudget(10, clock);
  const take = (address: string) => () => budget.take(address);
  t.equal(count(100, take('10.0.0.1:5000')), 40);
  t.equal(count(100, take('10.0.0.1:6000')), 0, 'whatever the port');
  t.equal(count(10, take('10.0.0.2:5000')), 10, 'others have their own');
  clock.jump(SECOND);
  t.equal(count(100, take('10.0.0.1:7000')), 10);
  budget.giveBack('10.0.0.1:7000');
  t.equal(count(100, take('10.0.0.1:7001')), 1, 'one that came to something costs nothing');
  clock.jump(-10 * SECOND);
  t.equal(count(100, take('10.0.0.1:7002')), 0, 'a clock that is set back makes it no worse');
  clock.jump(20 * SECOND);
  t.equal(count(100, take('10.0.0.1:7003')), 40, 'the debt is no larger than what may come at once');
});

t.test('a /64 of IPv6 is one address, an IPv4 in IPv6 is itself', async (t) => {
  const budget = createHandshakeBudget(1, fakeClock());
  const take = (address: string) => () => budget.take(address);
  t.equal(count(9, take('[2001:db8:1:2:3::4]:1')), 4);
  t.equal(count(9, take('[2001:db8:1:2:ffff:1:2:3]:1')), 0);
  t.equal(count(9, take('[2001:db8:1:3::1]:1')), 4);
  t.equal(count(9, take('[::ffff:10.0.0.1]:1')), 4);
  t.equal(count(9, take('[::ffff:10.0.0.2]:1')), 4);
});

t.test('addresses are forgotten before they fill the memory', async (t) => {
  const budget = createHandshakeBudget(1, fakeClock());
  for (let i = 0; i < 4; i++) budget.take('10.0.0.1:1');
  for (let i = 0; i < 5_000; i++) budget.take(`10.1.${i >> 8}.${i & 255}:1`);
  t.equal(budget.take('10.0.0.1:1'), true);
});

t.test('so many begin a turn, so many are under way', async (t) => {
  const pace = createPace({ aTurn: 3, atOnce: 5 });
  let begun = 0;
  for (let i = 0; i < 20; i++) pace.enter(() => begun++);
  t.equal(begun, 3, 'at once');
  await turn();
  t.equal(begun, 5, 'in the next turn, and no more are under way');
  for (let i = 0; i < 5; i++) await turn();
  t.equal(begun, 5);
  pace.leave();
  t.equal(begun, 5, 'not in the turn of who left');
  for (let left = 1; left < 20; left++) {
    await turn();
    await turn();
    pace.leave();
  }
  t.equal(begun, 20, 'each has its turn');
  pace.enter(() => begun++);
  t.equal(begun, 21);
});

const turn = () => new Promise((resolve) => setImmediate(resolve));
