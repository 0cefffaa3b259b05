import t from 'tap';
import { RATIO_BUDGETS } from '../../../bench/budgets.ts';
import { judge } from '../../../bench/judge.ts';
import { PEERS } from '../../../bench/peers/all.ts';
import { SCENARIOS } from '../../../bench/scenarios.ts';
import { resultOf, sampleOf } from '../../support/bench-results.ts';

const peers = PEERS.map(({ name }) => name);
const names = SCENARIOS.map(({ name }) => name);

t.test('every budget names a scenario and peers that there are', (t) => {
  for (const { scenario, subjects, against } of RATIO_BUDGETS) {
    t.ok(names.includes(scenario), scenario);
    for (const peer of [...subjects.map((s) => s.peer), ...against]) t.ok(peers.includes(peer), peer);
  }
  t.end();
});

t.test('a ratio is taken within each run, with its median and spread', (t) => {
  const results = [
    resultOf('sidelock', sampleOf(10), sampleOf(12), sampleOf(40)),
    resultOf('haproxy', sampleOf(20), sampleOf(20), sampleOf(80)),
  ];
  const [verdict] = judge([], [{ scenario: 'http-small', results, faults: [] }]);
  t.match(verdict, {
    work: 'HTTP keep-alive, 32 connections',
    between: 'two sidelocks',
    unit: 'x haproxy',
    found: 0.5,
  });
  t.match(verdict, { sign: '<=', bound: 0.65, held: true, note: "the kernel's part alone 0.20" });
  t.equal(verdict?.spread.toFixed(3), '0.100', '0.5, 0.6 and 0.5');
  t.end();
});

t.test('beside several peers the best of each run counts, and more is better where it is', (t) => {
  const bytes = (...runs: readonly number[]) => runs.map((megabytes) => sampleOf(1, { bytes: megabytes * 2e6 }));
  const results = [
    resultOf('sidelock', ...bytes(80, 80, 80)),
    resultOf('haproxy', ...bytes(100, 50, 100)),
    resultOf('ghostunnel', ...bytes(50, 100, 50)),
  ];
  const [verdict] = judge([], [{ scenario: 'l4-body', results, faults: [] }]);
  t.match(verdict, { found: 0.8, spread: 0, sign: '>=', bound: 0.85, held: false });
  t.equal(verdict?.unit, 'x the best of haproxy, ghostunnel');
  t.end();
});

t.test('with others our own end counts, and the worst of the chains', (t) => {
  const ends = (server: number, client: number) => sampleOf(0, { cpuServerUs: server, cpuClientUs: client });
  const results = [
    resultOf('haproxy', ends(20, 10)),
    resultOf('from-ghostunnel', ends(22, 99)),
    resultOf('to-ghostunnel', ends(99, 12)),
    resultOf('to-haproxy', ends(99, 9)),
  ];
  const verdicts = judge([], [{ scenario: 'http-small', results, faults: [] }]);
  t.match(
    verdicts.find(({ between }) => between === 'with others'),
    { found: 1.2, bound: 1.15, held: false, note: 'to-ghostunnel, from-ghostunnel 1.10, to-haproxy 0.90' },
  );
  t.end();
});

t.test('handshakes a CPU second are those of connections that share nothing', (t) => {
  const results = [
    resultOf('sidelock', sampleOf(100)),
    resultOf('sidelock-own', sampleOf(2_000)),
    resultOf('ghostunnel', sampleOf(2_500)),
  ];
  const verdicts = judge([], [{ scenario: 'l4-connect', results, faults: [] }]);
  t.match(
    verdicts.find(({ work, between }) => work === 'full handshake' && between === 'two sidelocks'),
    { found: 1.25, sign: '>=', bound: 1, held: true },
  );
  t.end();
});

t.test('a rate of connections is shown beside that with no proxy at all', (t) => {
  const rate = (requests: number) => sampleOf(10, { requests });
  const results = [resultOf('sidelock', rate(20_000)), resultOf('ghostunnel', rate(1_000))];
  const [verdict] = judge([], [{ scenario: 'l4-connect', results, faults: [], direct: 16_000 }]);
  t.match(verdict, { found: 20, sign: '>=', bound: 15, held: true, note: 'nothing between 32.0' });
  t.end();
});

t.test('what did not run is not judged: no peer, a run without requests, no scenario', (t) => {
  const zero = sampleOf(0);
  for (const results of [
    [resultOf('sidelock', sampleOf(10))],
    [resultOf('haproxy', sampleOf(10))],
    [resultOf('sidelock', sampleOf(10)), resultOf('haproxy', zero)],
  ]) {
    const [verdict] = judge([], [{ scenario: 'http-small', results, faults: [] }]);
    t.match(verdict, { found: undefined, held: undefined, note: 'needs haproxy and sidelock' });
  }
  t.strictSame(judge([], []), []);
  t.end();
});

t.test('absolute budgets: figures by their p95, memory by the larger end', (t) => {
  const figure = {
    name: 'validation',
    operations: 9,
    p50Ms: 1,
    p95Ms: 6,
    p99Ms: 7,
    spread: 0.1,
    targetMs: 100,
    budgetMs: 5,
  };
  const loaded = resultOf('sidelock', sampleOf(1), sampleOf(1, { pss: { server: 90e6, client: 1e6 } }), sampleOf(1));
  const verdicts = judge([figure], [{ scenario: 'http-body', results: [loaded], faults: [] }]);
  t.match(verdicts.slice(-3), [
    { work: 'validation', found: 6, unit: 'ms', bound: 5, held: false },
    { work: 'PSS idle', found: 31, unit: 'MB', bound: 40, held: true },
    { work: 'PSS loaded', found: 60, spread: 0.25, bound: 75, held: true, note: 'http-body' },
  ]);
  t.end();
});
