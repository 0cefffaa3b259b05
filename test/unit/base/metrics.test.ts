import t from 'tap';
import { createMetrics, pastOf } from '../../../src/base/metrics.ts';

t.test('cells are copied into the exposition when it is rendered', async (t) => {
  const metrics = createMetrics();
  const requests = metrics.counter('demo_requests_total', 'Requests.', ['result']);
  const open = metrics.gauge('demo_open', 'Open.');
  const ok = requests.with({ result: 'ok' });
  ok.value += 2;
  open.with({}).value = 7;
  t.equal(requests.with({ result: 'ok' }), ok, 'the same labels give the same cell');

  const first = await metrics.render();
  t.match(first, 'demo_requests_total{result="ok"} 2\n');
  t.match(first, 'demo_open 7\n');
  ok.value += 3;
  t.match(await metrics.render(), 'demo_requests_total{result="ok"} 5\n', 'set, not added up');
  t.match(metrics.contentType, 'text/plain');
});

t.test('a family that was reset shows nothing of before', async (t) => {
  const metrics = createMetrics();
  const info = metrics.gauge('demo_info', 'Info.', ['id']);
  info.with({ id: 'old' }).value = 1;
  info.reset();
  info.with({ id: 'new' }).value = 1;
  const text = await metrics.render();
  t.match(text, 'id="new"');
  t.notMatch(text, 'id="old"');
});

t.test('histograms, and gauges refreshed at each scrape', async (t) => {
  const metrics = createMetrics();
  const seconds = metrics.histogram('demo_seconds', 'Duration.', [0.1, 1], ['side']).with({ side: 'in' });
  for (const value of [0.5, 0.1, 7]) seconds.observe(value);
  const scrapes = metrics.gauge('demo_scrapes', 'Scrapes.').with({});
  metrics.onScrape(() => {
    scrapes.value++;
  });
  await metrics.render();
  const text = await metrics.render();
  const lines = text.split('\n').filter((line) => line.includes('demo_seconds'));
  t.strictSame(lines, [
    '# HELP demo_seconds Duration.',
    '# TYPE demo_seconds histogram',
    'demo_seconds_bucket{le="0.1",side="in"} 1',
    'demo_seconds_bucket{le="1",side="in"} 2',
    'demo_seconds_bucket{le="+Inf",side="in"} 3',
    'demo_seconds_sum{side="in"} 7.6',
    'demo_seconds_count{side="in"} 3',
  ]);
  t.match(text, 'demo_scrapes 2\n');
});

t.test('two registries know nothing of each other', async (t) => {
  const [one, two] = [createMetrics(), createMetrics()];
  one.counter('demo_total', 'Demo.').with({}).value = 1;
  t.doesNotThrow(() => two.counter('demo_total', 'Demo.'));
  t.notMatch(await two.render(), 'demo_total 1');
  t.match(await createMetrics({ processMetrics: true }).render(), 'process_cpu_seconds_total');
});

t.test('with what other threads counted, each series is there once', async (t) => {
  const thread = (n: number) => {
    const metrics = createMetrics();
    metrics.counter('demo_total', 'Demo.', ['side']).with({ side: 'a"b' }).value = n;
    metrics.gauge('demo_open', 'Open.').with({}).value = n;
    metrics.gauge('demo_info', 'Info.', [], 'max').with({}).value = 1;
    metrics
      .histogram('demo_seconds', 'Duration.', [0.1, 1], ['side'])
      .with({ side: 'in' })
      .observe(n / 2);
    return metrics;
  };
  const [main, one, two] = [thread(1), thread(1), thread(3)];
  main.gauge('demo_main', 'Of the main thread.').with({}).value = 9;
  // As it is after it was posted.
  main.include(async () => structuredClone([await one.snapshot(), await two.snapshot()]));
  const expected = `${[
    ['# HELP demo_total Demo.', '# TYPE demo_total counter', 'demo_total{side="a\\"b"} 5', ''],
    ['# HELP demo_open Open.', '# TYPE demo_open gauge', 'demo_open 5', ''],
    ['# HELP demo_info Info.', '# TYPE demo_info gauge', 'demo_info 1', ''],
    ['# HELP demo_seconds Duration.', '# TYPE demo_seconds histogram'],
    ['demo_seconds_bucket{le="0.1",side="in"} 0', 'demo_seconds_bucket{le="1",side="in"} 2'],
    ['demo_seconds_bucket{le="+Inf",side="in"} 3', 'demo_seconds_sum{side="in"} 2.5'],
    ['demo_seconds_count{side="in"} 3', ''],
    ['# HELP demo_main Of the main thread.', '# TYPE demo_main gauge', 'demo_main 9'],
  ]
    .flat()
    .join('\n')}\n`;
  t.equal(await main.render(), expected);
  t.equal(await main.render(), expected, 'and again');
  const past = pastOf([await one.snapshot(), pastOf([await two.snapshot()])]);
  t.strictSame(
    past.map(({ name }) => name),
    ['demo_total', 'demo_seconds'],
    'what is past has no gauges',
  );
  t.match(past[0]?.values, [{ value: 4 }]);
});
