import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { createTurns } from '../../../src/base/in-turn.ts';

t.test('work of one key never overlaps, work of two keys does', async (t) => {
  const inTurn = createTurns();
  const events: string[] = [];
  const work = (name: string) => async () => {
    events.push(`${name} begins`);
    await setImmediate();
    events.push(`${name} ends`);
    return name;
  };
  const results = await Promise.all([inTurn('a', work('1')), inTurn('a', work('2')), inTurn('b', work('3'))]);
  t.same(results, ['1', '2', '3']);
  t.ok(events.indexOf('2 begins') > events.indexOf('1 ends'));
  t.ok(events.indexOf('3 begins') < events.indexOf('1 ends'));
});

t.test('a failure is the caller’s alone', async (t) => {
  const inTurn = createTurns();
  const failing = inTurn('a', () => Promise.reject(new RangeError('no')));
  const next = inTurn('a', async () => 'done');
  await t.rejects(failing, RangeError);
  t.equal(await next, 'done');
});
