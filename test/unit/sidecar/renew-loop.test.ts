import t, { type Test } from 'tap';
import { DAY, HOUR, MINUTE, SECOND } from '../../../src/base/clock.ts';
import { isAbort, SidelockError } from '../../../src/base/errors.ts';
import { createLogger } from '../../../src/base/log.ts';
import { askedToWait } from '../../../src/base/retry.ts';
import { startRenewLoop } from '../../../src/sidecar/renew-loop.ts';
import { fakeClock, settle } from '../../support/fake-clock.ts';

const log = createLogger({ level: 'silent' });

function start(t: Test, { dueIn = HOUR, random = (): number => 1, endIn = Number.POSITIVE_INFINITY } = {}) {
  const clock = fakeClock();
  const stop = new AbortController();
  const began = clock.now();
  const state = { due: began + dueIn, good: true as true | number, attempts: [] as number[], inFlight: 0, most: 0 };
  let hold: Promise<void> | undefined;
  const loop = startRenewLoop({
    clock,
    random,
    log,
    signal: stop.signal,
    due: () => state.due,
    end: () => began + endIn,
    async attempt() {
      state.attempts.push(clock.now() - began);
      state.most = Math.max(state.most, ++state.inFlight);
      await hold;
      state.inFlight--;
      if (state.good === true) state.due = clock.now() + dueIn;
      return state.good;
    },
  });
  t.teardown(async () => {
    stop.abort();
    await loop.ended;
  });
  return { clock, stop, state, loop, holdAttempts: (until: Promise<void> | undefined) => (hold = until) };
}

t.test('renews when due, again and again, and not before', async (t) => {
  const { clock, state } = start(t);
  await clock.advance(HOUR - 1);
  t.same(state.attempts, []);
  await clock.advance(2 * HOUR);
  t.same(state.attempts, [HOUR, 2 * HOUR]);
});

t.test(
  'F26 what a busy manager asks for is waited, and a half more at most, so that not all come back at once',
  async (t) => {
    const { clock, state } = start(t);
    const busy = new SidelockError('SL-API-003', 'too many requests', { data: { retryAfterMs: 20 * SECOND } });
    state.good = askedToWait(busy, () => 0.5);
    await clock.advance(HOUR + MINUTE);
    t.same(
      state.attempts.slice(0, 3).map((at) => (at - HOUR) / SECOND),
      [0, 25, 50],
    );
    const endless = new SidelockError('SL-API-003', 'too many requests', { data: { retryAfterMs: 1000 * DAY } });
    t.equal(
      askedToWait(endless, () => 1),
      7.5 * MINUTE,
      'but not for ever',
    );
    for (const other of [new SidelockError('SL-MGR-001', 'away'), new Error('x')])
      t.equal(
        askedToWait(other, () => 1),
        0,
      );
  },
);

t.test('backs off to 30 s while it fails and starts over when it works', async (t) => {
  const { clock, state } = start(t);
  state.good = 0;
  await clock.advance(HOUR + 3 * MINUTE);
  const gaps = state.attempts.slice(1).map((at, i) => (at - (state.attempts[i] ?? 0)) / SECOND);
  t.same(gaps.slice(0, 8), [1, 2, 4, 8, 16, 30, 30, 30]);
  state.good = true;
  await clock.advance(30 * SECOND);
  const after = state.attempts.length;
  await clock.advance(HOUR - 31 * SECOND);
  t.equal(state.attempts.length, after, 'nothing before the next due time');
  await clock.advance(31 * SECOND);
  t.equal(state.attempts.length, after + 1);
});

t.test('back-off has jitter', async (t) => {
  const { clock, state } = start(t, { random: () => 0 });
  state.good = 0;
  await clock.advance(HOUR + 3 * SECOND);
  t.same(
    state.attempts.map((at) => at - HOUR),
    [0, 500, 1500],
  );
});

t.test('F8: away at the due time and back after an hour', async (t) => {
  const { clock, state } = start(t, { dueIn: DAY });
  state.good = 0;
  await clock.advance(DAY + HOUR);
  state.good = true;
  const before = state.attempts.length;
  await clock.advance(30 * SECOND);
  t.equal(state.attempts.length, before + 1);
  t.ok(before > 100 && before < 140, 'about two tries a minute');
});

t.test('F11: one attempt in flight, however long it takes', async (t) => {
  const { clock, state, loop, holdAttempts } = start(t);
  const gate = Promise.withResolvers<void>();
  holdAttempts(gate.promise);
  await clock.advance(HOUR);
  const asked = [loop.now(), loop.now(), loop.now()];
  loop.changed();
  await clock.advance(HOUR);
  t.equal(state.attempts.length, 1);
  gate.resolve();
  await settle();
  await Promise.all(asked);
  t.equal(state.most, 1);
  t.equal(state.attempts.length, 2, 'those who asked during an attempt share the next');
});

t.test('now() does not wait for the due time, nor for the end of a back-off', async (t) => {
  const { clock, state, loop } = start(t);
  await loop.now();
  t.same(state.attempts, [0]);
  state.good = 0;
  await clock.advance(HOUR);
  state.good = true;
  await loop.now();
  t.equal(state.attempts.length, 3);
});

t.test('another identity ends the back-off and moves the due time', async (t) => {
  const { clock, state, loop } = start(t);
  state.good = 0;
  await clock.advance(HOUR + 10 * MINUTE);
  const before = state.attempts.length;
  state.due = clock.now() + HOUR;
  state.good = true;
  loop.changed();
  await clock.advance(HOUR - SECOND);
  t.equal(state.attempts.length, before);
  await clock.advance(SECOND);
  t.equal(state.attempts.length, before + 1);
});

t.test('F20: the wall clock decides within 30 s', async (t) => {
  for (const jump of [DAY, 91 * DAY, 3 * HOUR]) {
    const { clock, state } = start(t, { dueIn: 2 * HOUR });
    await clock.advance(MINUTE);
    clock.jump(jump);
    t.equal(state.attempts.length, 0);
    await clock.advance(30 * SECOND);
    t.equal(state.attempts.length, 1, `noticed a jump of ${jump / HOUR} h`);
  }
  const { clock, state } = start(t, { dueIn: 2 * HOUR });
  await clock.advance(HOUR);
  clock.jump(-HOUR);
  await clock.advance(2 * HOUR - SECOND);
  t.equal(state.attempts.length, 0, 'set back by an hour: due an hour later');
  await clock.advance(SECOND);
  t.equal(state.attempts.length, 1);
});

t.test('F20: a due time 60 days away never makes one long timer', async (t) => {
  const { clock, state } = start(t, { dueIn: 60 * DAY });
  await clock.advance(DAY);
  t.equal(state.attempts.length, 0);
  t.ok(Math.max(...clock.sleeps) <= 30 * SECOND);
});

t.test('a back-off is not prolonged by a clock that is set back', async (t) => {
  const { clock, state } = start(t);
  state.good = 0;
  await clock.advance(HOUR);
  clock.jump(-30 * MINUTE);
  await clock.advance(SECOND);
  t.equal(state.attempts.length, 2);
});

t.test('the end: no attempt more, and who waits hears of it', async (t) => {
  const { clock, stop, state, loop, holdAttempts } = start(t);
  const gate = Promise.withResolvers<void>();
  holdAttempts(gate.promise);
  const served = loop.now().catch((error: unknown) => error);
  await settle();
  const waiting = loop.now().catch((error: unknown) => error);
  stop.abort();
  gate.reject(stop.signal.reason);
  await loop.ended;
  t.ok(isAbort(await served), 'also whose attempt was under way');
  t.ok(isAbort(await waiting));
  t.ok(isAbort(await loop.now().catch((error: unknown) => error)));
  await clock.advance(DAY);
  t.equal(state.attempts.length, 1);
});

t.test('a leaf that ends soon is asked for several times before its end', async (t) => {
  const { clock, state } = start(t, { dueIn: 20 * SECOND, endIn: 30 * SECOND });
  state.good = 0;
  for (let i = 0; i < 60; i++) await clock.advance(SECOND / 2);
  const before = state.attempts.filter((at) => at < 30 * SECOND);
  t.ok(before.length >= 5, `${before.length} attempts in the last ten seconds: ${before}`);
});
