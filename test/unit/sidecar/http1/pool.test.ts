import t from 'tap';
import { Pool, type PoolOptions, type Taker } from '../../../../src/sidecar/http1/pool.ts';
import type { OpenedLink, OpenLink, Upstream } from '../../../../src/sidecar/http1/upstream.ts';
import { type Link, type LinkUser, TAKEN } from '../../../../src/sidecar/link.ts';
import { onlyLoad } from '../../../../src/sidecar/load.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../../src/sidecar/options.ts';

/** A link that takes everything and does nothing. */
function fakeLink() {
  let user: LinkUser | undefined;
  const calls: string[] = [];
  const call = (name: string) => () => void calls.push(name);
  const link: Link = {
    open: (u) => {
      user = u;
    },
    resume: call('resume'),
    write: () => TAKEN,
    writeText: () => TAKEN,
    end: call('end'),
    reset: () => {
      calls.push('reset');
      user?.closed(undefined);
    },
    renewSpace: () => {},
  };
  return { link, calls, leave: () => user?.closed(undefined) };
}

function startPool(limits: Partial<typeof DEFAULT_HTTP_LIMITS> = {}, more: Partial<PoolOptions> = {}) {
  const opening: Array<Parameters<OpenLink>[1]> = [];
  const load = onlyLoad();
  const time = { now: 0 };
  const openNow = { value: 0 };
  const pool = new Pool({
    open: (_load, done) => opening.push(done),
    pick: (beside) => (beside === undefined ? load : undefined),
    limits: { ...DEFAULT_HTTP_LIMITS, ...limits },
    idleMs: 1_000,
    now: () => time.now,
    openNow,
    ...more,
  });
  const got: Array<Upstream | string> = [];
  const taker: Taker = {
    ready: (upstream) => void got.push(upstream),
    failed: ({ reason }) => void got.push(reason),
  };
  const opened = (more: Partial<OpenedLink> = {}) => {
    const fake = fakeLink();
    opening.shift()?.({ link: fake.link, load, ...more });
    return fake;
  };
  const last = () => {
    const upstream = got.at(-1);
    if (upstream === undefined || typeof upstream === 'string') throw new Error(`no connection: ${upstream}`);
    return upstream;
  };
  return { pool, opening, time, openNow, got, taker, opened, last };
}

t.test('X26 at most so many are opened at once and so many wait; more fail at once', async (t) => {
  const { pool, opening, got, taker, opened } = startPool({ maxOpening: 2, maxWaiting: 1 });
  for (let i = 0; i < 5; i++) pool.take(taker);
  t.equal(opening.length, 2);
  t.strictSame(got, ['busy', 'busy']);
  opened();
  t.equal(opening.length, 2, 'who waited is next');
});

t.test('what was given back serves who waits, else who comes next', async (t) => {
  const { pool, got, taker, opened, last } = startPool({ maxOpening: 1 });
  pool.take(taker);
  pool.take(taker);
  opened();
  const first = last();
  pool.release(first);
  pool.take(taker);
  t.equal(got.at(-1), first);
});

t.test('one that left, that is not usable any more, or that waited too long is not given out', async (t) => {
  const { pool, opening, time, openNow, taker, opened, last } = startPool();
  pool.take(taker);
  const left = opened();
  pool.release(last());
  left.leave();
  t.equal(pool.idle, 0);
  t.equal(openNow.value, 0);

  let usable = true;
  pool.take(taker);
  const stale = opened({ usable: () => usable });
  pool.release(last());
  usable = false;
  pool.take(taker);
  t.match(stale.calls, ['end']);
  t.equal(opening.length, 1);

  const old = opened();
  pool.release(last());
  time.now = 999;
  pool.sweep();
  t.equal(pool.idle, 1);
  time.now = 1_000;
  pool.sweep();
  t.equal(pool.idle, 0);
  t.match(old.calls, ['end']);
  pool.sweep();
  t.match(old.calls, ['end', 'reset'], 'its peer did not end');
});

t.test('idle ones are bounded, and none is kept after close', async (t) => {
  const { pool, taker, opened, last } = startPool({ maxIdleUpstreams: 1 });
  pool.take(taker);
  opened();
  const first = last();
  pool.take(taker);
  const second = opened();
  pool.release(first);
  pool.release(last());
  t.equal(pool.idle, 1);
  t.match(second.calls, ['end']);
  pool.close();
  t.equal(pool.idle, 0);
});

t.test(
  'at most so many are open: who comes then gets what is idle anywhere, or waits until one is free or gone',
  async (t) => {
    const [here, there] = [onlyLoad(), onlyLoad()];
    let next = here;
    const { pool, opening, got, taker, opened, last } = startPool({}, { pick: () => next, maxConnections: 2 });
    pool.take(taker);
    opened({ load: here });
    const first = last();
    pool.take(taker);
    const second = opened({ load: here });
    pool.release(first);
    next = there;
    pool.take(taker);
    t.equal(got.at(-1), first, 'of the other place');
    pool.take(taker);
    t.equal(got.length, 3);
    t.equal(opening.length, 0);
    second.leave();
    t.equal(opening.length, 1, 'its place is taken');
  },
);
