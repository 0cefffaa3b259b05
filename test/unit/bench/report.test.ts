import t from 'tap';
import type { Result } from '../../../bench/measure.ts';
import { bars, budgets, renderScenario, table } from '../../../bench/report.ts';
import type { Scenario } from '../../../bench/scenarios.ts';

const scenario: Scenario = {
  name: 'l4-small',
  title: 'a load',
  path: '/small',
  connections: 32,
  protocol: 'tcp',
  close: false,
  budgets: [
    { figure: 'cpuUs', against: ['ghostunnel'], ratio: 1.1 },
    { figure: 'megabytesPerSecond', against: ['haproxy', 'ghostunnel'], ratio: 0.85 },
  ],
};

const result = (peer: string, cpuUs: number, megabytesPerSecond: number, errors = 0): Result => ({
  peer,
  requestsPerSecond: 1000,
  megabytesPerSecond,
  p50Us: 900,
  p99Us: 1500,
  cpuUs,
  cpuServerUs: cpuUs / 2,
  cpuClientUs: cpuUs / 2,
  cpuSpread: 0.05,
  pss: { server: 2e7, client: 3e7 },
  pssIdle: { server: 1e7, client: 1e7 },
  errors,
});

t.test('a budget compares with the best peer that ran', (t) => {
  const verdicts = budgets(scenario, [
    result('sidelock', 30, 80),
    result('haproxy', 20, 100),
    result('ghostunnel', 30, 90),
  ]);
  t.strictSame(verdicts, [
    { text: 'CPU a request 1.00 x ghostunnel (budget <= 1.1)', met: true },
    { text: 'MB/s 0.80 x the best of haproxy, ghostunnel (budget >= 0.85)', met: false },
  ]);
  t.strictSame(budgets(scenario, [result('sidelock', 30, 80)]), [], 'nobody to compare with');
  t.strictSame(budgets(scenario, [result('haproxy', 30, 80)]), [], 'sidelock did not run');
  t.end();
});

t.test('the report names ratios, misses and failed requests', (t) => {
  const text = renderScenario(scenario, [result('sidelock', 45, 80, 3), result('ghostunnel', 30, 90)]);
  t.match(text, /sidelock .* 1\.50 +-\n/);
  t.match(text, 'MISS CPU a request 1.50 x ghostunnel');
  t.match(text, '! sidelock: 3 failed requests');
  t.end();
});

t.test('columns line up and the longest bar is the largest value', (t) => {
  t.equal(
    table([
      ['', 'a'],
      ['name', '12'],
    ]),
    '         a\n  name  12\n',
  );
  const [first, second] = bars([
    { name: 'x', value: 10, unit: 'us' },
    { name: 'yy', value: 5, unit: 'us' },
  ]).split('\n');
  t.equal(first?.match(/█/g)?.length, 48);
  t.equal(second?.match(/█/g)?.length, 24);
  t.end();
});
