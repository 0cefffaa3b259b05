import t from 'tap';
import { createBacklog } from '../../../src/api/backlog.ts';
import { SECOND } from '../../../src/base/clock.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/manager/rig.ts';

t.test('F26 who is sent away gets a place in a line, at the speed of what is served', async (t) => {
  const clock = fakeClock();
  const { log, lines } = recordingLog();
  const backlog = createBacklog(clock, log);
  const seconds = Array.from({ length: 100 }, () => Math.ceil(backlog.refused() / SECOND));
  t.same([seconds[0], seconds[19], seconds[20], seconds[99]], [1, 1, 2, 5], 'twenty a second until more is known');
  t.equal(lines.length, 1, 'one line for all of them');

  for (let i = 0; i < 100; i++) backlog.served();
  await clock.advance(SECOND);
  t.ok(backlog.refused() < SECOND, 'a hundred were served in that second');
  await clock.advance(10 * SECOND);
  t.equal(Math.ceil(backlog.refused()), 50, 'when nobody waits, the next is first');
  t.match(lines.at(-1), { event: 'busy', count: 101 });
  for (let i = 0; i < 10_000; i++) backlog.refused();
  t.equal(backlog.refused(), 60 * SECOND, 'a minute at most');
});
