import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { SidelockError } from '../../../src/base/errors.ts';
import { createLogger } from '../../../src/base/log.ts';
import { lead, type Term } from '../../../src/kubernetes/leader.ts';
import { isObject, type Json, textOf } from '../../../src/kubernetes/names.ts';
import { createBell } from '../../../src/kubernetes/repeat.ts';
import { fakeClock } from '../../support/fake-clock.ts';

/** One Lease with the rules of the API server for who wins. */
function oneLease() {
  let kept: Json | undefined;
  let version = 0;
  const put = (object: Json): Json => {
    const metadata = isObject(object['metadata']) ? object['metadata'] : {};
    kept = { ...object, metadata: { ...metadata, resourceVersion: String(++version) } };
    return kept;
  };
  const state = { down: false };
  const check = () => {
    if (state.down) throw new SidelockError('SL-KUBE-001', 'cannot GET');
  };
  return {
    state,
    api: {
      get: async () => {
        check();
        return kept;
      },
      async create(_path: string, object: Json) {
        check();
        return kept === undefined ? put(object) : undefined;
      },
      async replace(_path: string, object: Json) {
        check();
        const read = textOf(object['metadata'], 'resourceVersion');
        return read === textOf(kept?.['metadata'], 'resourceVersion') ? put(object) : undefined;
      },
    },
    spec: (): Json => (isObject(kept?.['spec']) ? kept['spec'] : {}),
  };
}

function rig(lease = oneLease()) {
  const clock = fakeClock();
  const { signal } = new AbortController();
  /** `frozen`: the process is stopped, and its timers with it; the time goes on. */
  const candidate = (identity: string, stopped: { frozen: boolean } = { frozen: false }) => {
    const won = Promise.withResolvers<Term>();
    const own = {
      now: clock.now,
      async sleep(ms: number, abort: AbortSignal) {
        await clock.sleep(ms, abort);
        while (stopped.frozen) await clock.sleep(100, abort);
      },
    };
    const looks: Array<string | undefined> = [];
    const bell = createBell();
    lead(
      {
        api: lease.api,
        candidate: { namespace: 'n', name: 'l', identity, durationMs: 10_000 },
        ...{ clock: own, monotonic: clock.now, random: () => 0.5, log: createLogger({ level: 'silent' }) },
        bell,
        onLook: (leader) => looks.push(leader),
      },
      signal,
    ).then(won.resolve, won.reject);
    let term: Term | undefined;
    won.promise.then((got) => {
      term = got;
    });
    return { won: won.promise, term: () => term, looks, stopped, bell };
  };
  return { clock, lease, candidate };
}

t.test('one leads, the next one takes over when it is gone and not before', async (t) => {
  const { clock, lease, candidate } = rig();
  const a = candidate('a');
  const first = await a.won;
  t.equal(lease.spec()['leaseTransitions'], 0);
  t.match(lease.spec()['renewTime'], /^2026-11-24T00:00:00\.\d{6}Z$/, 'the API server wants exactly six digits');
  const b = candidate('b');
  await clock.advance(60_000);
  t.ok(first.holds(), 'it renews');
  t.equal(b.term(), undefined);
  t.equal(b.looks.at(-1), 'a');
  a.stopped.frozen = true;
  await clock.advance(6_000);
  t.equal(b.term(), undefined, 'a holder that is late is waited for');
  await clock.advance(8_000);
  t.ok(b.term()?.holds(), 'and no longer than its Lease');
  t.notOk(first.holds(), 'the one that was stopped knows at once that it leads no more');
  t.equal(lease.spec()['leaseTransitions'], 1);
  a.stopped.frozen = false;
  await clock.advance(200);
  t.ok(first.lost.aborted, 'and says so as soon as it runs');
  t.ok(b.term()?.holds());
});

t.test('who is told that the Lease has changed does not wait for its next look', async (t) => {
  const { clock, candidate } = rig();
  const first = await candidate('a').won;
  const b = candidate('b');
  await clock.advance(1);
  await first[Symbol.asyncDispose]();
  await clock.advance(1);
  t.equal(b.term(), undefined);
  b.bell.ring();
  await clock.advance(1);
  t.ok(b.term()?.holds());
});

t.test('never two at one time, wherever the first one is stopped', async (t) => {
  for (let at = 0; at < 2_500; at += 125) {
    const { clock, candidate } = rig();
    const a = candidate('a');
    const first = await a.won;
    const b = candidate('b');
    await clock.advance(20_000 + at);
    a.stopped.frozen = true;
    for (let passed = 0; passed < 15_000; passed += 100) {
      await clock.advance(100);
      if (first.holds() && b.term()?.holds() === true) throw new Error(`both lead ${passed} ms after a stop at ${at}`);
    }
    t.ok(b.term()?.holds(), `stopped at ${at}`);
  }
});

t.test('without the API server a leader stops in time, and who comes back first leads', async (t) => {
  const { clock, lease, candidate } = rig();
  const first = await candidate('a').won;
  const b = candidate('b');
  await clock.advance(5_000);
  lease.state.down = true;
  await clock.advance(5_000);
  t.ok(first.holds(), 'a restart of the API server changes nothing');
  lease.state.down = false;
  await clock.advance(5_000);
  t.ok(first.holds());
  lease.state.down = true;
  await clock.advance(9_000);
  t.notOk(first.holds());
  t.match(first.lost.reason, { code: 'SL-HA-001' });
  t.equal(b.looks.at(-1), undefined, 'a follower knows that it knows nothing');
  lease.state.down = false;
  await clock.advance(15_000);
  t.ok(b.term()?.holds());
});

t.test('a Lease that is given back is taken at the next look; a stranger in it ends the term', async (t) => {
  const { clock, lease, candidate } = rig();
  const first = await candidate('a').won;
  const b = candidate('b');
  await clock.advance(1_000);
  await first[Symbol.asyncDispose]();
  t.notOk(first.lost.aborted, 'giving back is no loss');
  await clock.advance(3_000);
  t.ok(b.term()?.holds());
  const now = await lease.api.get();
  await lease.api.replace('', { ...now, spec: { ...lease.spec(), holderIdentity: 'stranger' } });
  await clock.advance(3_000);
  t.notOk(b.term()?.holds());
  await setImmediate();
  t.match(b.term()?.lost.reason, { code: 'SL-HA-001', why: 'stranger has the Lease' });
});
