import t from 'tap';
import { MINUTE, SECOND } from '../../../src/base/clock.ts';
import { SidelockError } from '../../../src/base/errors.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import type { KubeApi, WatchEvent } from '../../../src/kubernetes/client.ts';
import { watchObject, watchObjects } from '../../../src/kubernetes/watch.ts';
import { createWatchMetrics } from '../../../src/kubernetes/watch-metrics.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/manager/rig.ts';

const of = (type: WatchEvent['type'], name: string, resourceVersion: string): WatchEvent => ({
  type,
  object: { metadata: { namespace: 'n', name, uid: name, resourceVersion } },
});
const refusal = (kubernetes: number, data = {}) =>
  new SidelockError('SL-KUBE-002', `cannot watch: ${kubernetes}`, { why: 'no', data: { kubernetes, ...data } });

/** What the API server does with each watch: events, then an end, or a bookmark each minute. Says nothing where none is left. */
type Watch = { readonly events?: readonly WatchEvent[]; readonly end?: 'clean' | Error } | Error;

function rig(t: { teardown(end: () => Promise<void>): void }, watches: readonly Watch[]) {
  const clock = fakeClock();
  const metrics = createMetrics();
  const { log, lines } = recordingLog();
  const stop = new AbortController();
  const asked: string[] = [];
  const left = watches.values();
  const api: Pick<KubeApi, 'get' | 'watch'> = {
    async get(path) {
      asked.push(`list ${new URL(path, 'http://x').pathname}`);
      return { metadata: { resourceVersion: '100' }, items: [of('ADDED', 'a', '1').object] };
    },
    async watch(path, signal) {
      const next = left.next().value;
      asked.push(`watch ${new URL(path, 'http://x').searchParams.get('resourceVersion')}`);
      if (next instanceof Error) throw next;
      return (async function* () {
        yield* next?.events ?? [];
        if (next?.end instanceof Error) throw next.end;
        if (next?.end === 'clean') return;
        while (next !== undefined) {
          await clock.sleep(MINUTE, signal);
          yield of('BOOKMARK', '', '100');
        }
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      })();
    },
  };
  const needs = {
    api,
    clock,
    log,
    random: () => 0.5,
    metrics: createWatchMetrics(metrics),
    signal: stop.signal,
  };
  const end = (ended: Promise<void>) =>
    t.teardown(async () => {
      stop.abort();
      await ended;
    });
  return { clock, metrics, lines, asked, needs, end };
}

const what = { resource: 'services', path: '/all' } as const;

t.test(
  'it goes on at the last version it heard of, a bookmark too, and lists again when that is too old',
  async (t) => {
    const { clock, asked, needs, end, lines } = rig(t, [
      { events: [of('ADDED', 'b', '105'), of('BOOKMARK', '', '120')], end: 'clean' },
      { end: new SidelockError('SL-KUBE-001', 'broken') },
      { events: [of('DELETED', 'b', '130')], end: refusal(410) },
      {},
    ]);
    const { known, ended } = watchObjects(what, { ...needs, onChange: () => {} });
    end(ended);
    await clock.advance(MINUTE);
    t.same(asked, ['list /all', 'watch 100', 'watch 120', 'watch 120', 'list /all', 'watch 100']);
    t.same([...known.keys()], ['n/a']);
    t.same(
      lines.filter(({ level }) => Number(level) >= 40),
      [],
      'none of this is trouble',
    );
  },
);

t.test(
  'what is refused is asked again slowly, what is unreachable soon and then slower, what is busy when it says',
  async (t) => {
    const away = new SidelockError('SL-KUBE-001', 'away');
    const rows: Array<[string, Error, number, number]> = [
      ['refused', refusal(403), 0.1 * SECOND, 22.5 * SECOND],
      ['unreachable', away, 0.1 * SECOND, 3.75 * SECOND],
      ['busy', refusal(429, { retryAfterMs: 4_000 }), 5 * SECOND, 5 * SECOND],
    ];
    for (const [name, error, first, last] of rows) {
      const { clock, metrics, lines, asked, needs, end } = rig(
        t,
        Array.from({ length: 11 }, (_, i) => (i < 10 ? error : {})),
      );
      end(watchObjects(what, { ...needs, onChange: () => {} }).ended);
      t.match(await metrics.render(), /watch_open\{resource="services"\} 0/);
      await clock.advance(5 * MINUTE);
      const waits = clock.sleeps.slice(0, 10);
      t.equal(waits.at(-1), last, 'capped');
      t.ok(
        waits.every((ms) => ms >= first && ms <= last),
        `${name}: ${waits.join()}`,
      );
      t.match(
        lines.filter(({ level }) => Number(level) > 20),
        [{ event: 'watch_failed' }, { event: 'watch_restored' }],
      );
      t.equal(
        asked.filter((one) => one.startsWith('list')).length,
        name === 'refused' ? 11 : 1,
        'and listed meanwhile',
      );
    }
  },
);

t.test(
  'one that says nothing is given up; one that ends at once does not spin; a quarter of an hour is a list',
  async (t) => {
    const silent = rig(t, []);
    silent.end(watchObjects(what, { ...silent.needs, onChange: () => {} }).ended);
    await silent.clock.advance(20 * MINUTE);
    const lists = silent.asked.filter((one) => one.startsWith('list')).length;
    t.equal(lists, 2);
    t.equal(silent.asked.length - lists, 16);
    t.match(
      silent.lines.filter(({ level }) => Number(level) > 20),
      [{ event: 'watch_failed', level: 40, reason: 'silent', why: /nothing comes/ }],
      'which is told once, and not that it is over',
    );
    const short = rig(
      t,
      Array.from({ length: 500 }, () => ({ end: 'clean' as const })),
    );
    short.end(watchObjects(what, { ...short.needs, onChange: () => {} }).ended);
    await short.clock.advance(MINUTE);
    t.ok(short.asked.length < 30, String(short.asked.length));
  },
);

t.test(
  'a watch that is cut as soon as it has told something is begun again slower and slower, and told of once',
  async (t) => {
    const cut = { events: [of('MODIFIED', 'a', '5')], end: new SidelockError('SL-KUBE-001', 'cut') };
    const clean = { ...cut, end: 'clean' as const };
    const { clock, asked, needs, end, lines } = rig(
      t,
      Array.from({ length: 501 }, (_, i) => (i === 500 ? {} : i < 30 ? [cut, clean, refusal(500)][i % 3] : cut) ?? cut),
    );
    const { isOpen, ended } = watchObjects(what, { ...needs, onChange: () => {} });
    end(ended);
    await clock.advance(10 * MINUTE);
    t.ok(asked.length < 200, `${asked.length} watches in ten minutes`);
    t.notOk(isOpen());
    const told = () => lines.filter(({ event }) => /^watch_(failed|restored)$/.test(String(event)));
    t.same(
      told().map(({ reason }) => reason),
      ['failed', 'broken', 'ended'],
    );
    t.match(told().at(-1), { level: 40, code: 'SL-KUBE-001', why: /proxy/ });
    await clock.advance(60 * MINUTE);
    t.ok(isOpen());
    t.equal(told().length, 4);
    t.match(told().at(-1), { event: 'watch_restored' }, 'over when one has lived');
  },
);

t.test('of one object is told that it may have changed: at each begin and end, and without a list', async (t) => {
  const { clock, asked, needs, end } = rig(t, [
    { events: [of('MODIFIED', 'a', '5'), of('BOOKMARK', '', '9')], end: 'clean' },
    {},
  ]);
  let rings = 0;
  const { isOpen, ended } = watchObject({ ...what, name: 'a' }, { ...needs, onChange: () => rings++ });
  end(ended);
  await clock.advance(SECOND);
  t.same(asked, ['watch null', 'watch null']);
  t.equal(rings, 4);
  t.ok(isOpen());
});

t.test('a kind that is not there has no objects; one that vanishes leaves those that were known', async (t) => {
  const vanished = refusal(410);
  const { clock, needs, end, lines } = rig(t, [refusal(404), { end: vanished }, {}]);
  let answer: 'none' | 'some' = 'none';
  const api = { ...needs.api, get: async (path: string) => (answer === 'none' ? undefined : needs.api.get(path)) };
  let tells = 0;
  const { known, isOpen, ended } = watchObjects(what, { ...needs, api, onChange: () => tells++ });
  end(ended);
  await clock.advance(0);
  t.equal(tells, 1, 'who waits for the first list need not wait for the kind');
  t.equal(known.size, 0);
  answer = 'some';
  await clock.advance(SECOND / 5);
  t.same([...known.keys()], ['n/a']);
  answer = 'none';
  await clock.advance(MINUTE);
  t.same([...known.keys()], ['n/a']);
  t.notOk(isOpen());
  t.match(
    lines.filter(({ event }) => event === 'watch_failed'),
    [{ reason: 'refused', level: 50, why: /kind/ }],
  );
  answer = 'some';
  await clock.advance(2 * MINUTE);
  t.ok(isOpen(), 'and is followed again when it comes back');
});

t.test('a mistake of whoever is told comes out', async (t) => {
  const { needs } = rig(t, [{ events: [of('ADDED', 'b', '2')] }]);
  const wrong = () => {
    throw new TypeError('a mistake');
  };
  await t.rejects(watchObjects(what, { ...needs, onChange: wrong }).ended, TypeError);
});
