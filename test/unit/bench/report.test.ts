import t from 'tap';
import { judge } from '../../../bench/judge.ts';
import { relayChart, relayMarkdown } from '../../../bench/relay-output.ts';
import { renderScenario, renderVerdicts } from '../../../bench/report.ts';
import type { Measured } from '../../../bench/results.ts';
import { SCENARIOS } from '../../../bench/scenarios.ts';
import { resultOf, sampleOf } from '../../support/bench-results.ts';

const [scenario] = SCENARIOS.filter(({ name }) => name === 'l4-small');
const measured: Measured = {
  scenario: 'l4-small',
  results: [
    resultOf('sidelock', sampleOf(45, { errors: 3 }), sampleOf(45), sampleOf(54)),
    resultOf('ghostunnel', sampleOf(30), sampleOf(30), sampleOf(30)),
  ],
  faults: ['haproxy: does not listen'],
};

t.test('a scenario shows medians, ratios with their spread, failed requests and faults', (t) => {
  if (scenario === undefined) throw new Error('no such scenario');
  const text = renderScenario(scenario, measured);
  t.match(text, 'l4-small: 32 keep-alive connections');
  t.match(
    text,
    /sidelock +1000 +80\.0 +900 us +1\.2 ms +1\.5 ms +22\.5\/22\.5 +10% +40% +30\/31 +50\/60 +1\.50 +10% +-\n/,
  );
  t.match(text, '! sidelock: 3 failed requests');
  t.match(text, '! haproxy: does not listen');
  t.match(text, /ghostunnel +█{32} 30\.0 us\n/);
  t.end();
});

t.test('the budget table says held, MISSED or not measured in each line', (t) => {
  const text = renderVerdicts(judge([], [measured]));
  t.match(text, /two sidelocks +CPU a request +1\.50 x ghostunnel +10% +<= 0\.55 +MISSED/);
  t.match(text, /two sidelocks +CPU a request +- +<= 0\.7 +not measured +needs haproxy and sidelock/);
  t.match(text, /PSS loaded .* 60\.00 MB +0% +<= 75 +held +l4-small/);
  t.equal(renderVerdicts([]), '');
  t.end();
});

t.test('Markdown and chart have every peer', (t) => {
  const about = {
    machine: {
      date: '2026-11-24T10:00:00Z',
      commit: 'abc',
      cpu: 'X',
      cores: 2,
      memoryBytes: 1,
      kernel: '6',
      node: 'v26',
      openssl: '3',
    },
    versions: { ghostunnel: '1.11' },
    runs: 3,
    seconds: 2,
  };
  const text = relayMarkdown({
    ...about,
    figures: [],
    scenarios: [measured],
    budgets: judge([], [measured]),
    failures: [],
  });
  t.match(text, '2026-11-24, commit abc; 2 cores (X), Linux 6, Node 26');
  t.match(text, 'ghostunnel 1.11');
  t.match(text, '| TCP | 32 conns, small |\n| --- | --- |\n| sidelock | 22.5/22.5 |\n| ghostunnel | 15.0/15.0 |\n');
  const svg = relayChart([measured]);
  t.match(svg, /<svg .*viewBox="0 0 \d+ \d+"/);
  for (const { peer } of measured.results) t.match(svg, `>${peer}</text>`);
  t.end();
});
