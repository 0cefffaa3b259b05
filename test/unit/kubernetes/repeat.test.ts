import t from 'tap';
import { MINUTE, SECOND } from '../../../src/base/clock.ts';
import { SidelockError } from '../../../src/base/errors.ts';
import { createBell, forEach, repeat } from '../../../src/kubernetes/repeat.ts';
import { fakeClock, settle } from '../../support/fake-clock.ts';

t.test('a ring ends a wait, but not the one after a failure', async (t) => {
  const clock = fakeClock();
  const stop = new AbortController();
  const bell = createBell();
  let isBroken = true;
  let tries = 0;
  const ended = repeat({
    async work() {
      tries++;
      if (isBroken) throw new SidelockError('SL-KUBE-001', 'away');
    },
    pause: (failures) => (failures === 0 ? MINUTE : 10 * SECOND),
    onFailure: () => {},
    ...{ bell, clock, signal: stop.signal },
  });
  const ringOften = async () => {
    for (let i = 0; i < 9; i++) {
      bell.ring();
      await clock.advance(SECOND);
    }
  };
  await ringOften();
  t.equal(tries, 1, 'however often it rings');
  isBroken = false;
  await clock.advance(SECOND);
  t.equal(tries, 2, 'what rang meanwhile is done when the time has come, once');
  bell.ring();
  await settle();
  t.equal(tries, 3);
  stop.abort();
  await ended;
});

t.test('when all is to stop no other begins, and who asked waits for those that had', async (t) => {
  const stop = new AbortController();
  const begun: number[] = [];
  let end = () => {};
  const first = new Promise<void>((resolve) => {
    end = resolve;
  });
  const items = Array.from({ length: 100 }, (_, i) => i);
  let isOver = false;
  const all = forEach(
    items,
    8,
    async (item) => {
      begun.push(item);
      await first;
    },
    stop.signal,
  ).finally(() => {
    isOver = true;
  });
  const rejected = t.rejects(all, { name: 'AbortError' });
  stop.abort();
  await settle();
  t.notOk(isOver);
  end();
  await rejected;
  t.equal(begun.length, 8);
});

t.test('a stop that has a reason of ours is no failure', async (t) => {
  const stop = new AbortController();
  const failures: string[] = [];
  await repeat({
    async work() {
      stop.abort(new SidelockError('SL-HA-001', 'no longer leading'));
      await forEach([1], 1, async () => {}, stop.signal);
    },
    pause: () => SECOND,
    onFailure: ({ code }) => failures.push(code),
    ...{ clock: fakeClock(), signal: stop.signal },
  });
  t.same(failures, []);
});

t.test('a mistake is told also when all is to stop', async (t) => {
  const stop = new AbortController();
  const mistaken = async () => {
    stop.abort();
    throw new TypeError('a mistake');
  };
  await t.rejects(forEach([1], 1, mistaken, stop.signal), TypeError);
  const stopped = async () => stop.signal.throwIfAborted();
  await t.rejects(forEach([1], 1, stopped, stop.signal), { name: 'AbortError' });
});
