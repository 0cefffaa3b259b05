import t from 'tap';
import { failures } from '../../../bench/failures.ts';
import { resultOf, sampleOf } from '../../support/bench-results.ts';

const scenario = 'http-small';

t.test('a target of the guide that is missed; a budget of ours, and no target, are none', (t) => {
  const figure = { name: 'validation', operations: 9, p50Ms: 1, p95Ms: 101, p99Ms: 102, spread: 0.1, budgetMs: 5 };
  t.strictSame(failures([figure, { ...figure, p95Ms: 99, targetMs: 100 }], []), []);
  t.strictSame(failures([{ ...figure, targetMs: 100 }], []), [
    'validation: p95 is 101.0 ms, the guide asks for less than 100 ms',
  ]);
  t.end();
});

t.test('a run without an answer, whichever it is', (t) => {
  const text = ['http-small: haproxy had 0 requests answered in run 2'];
  for (const silent of [sampleOf(1, { requests: 0 }), sampleOf(1, { answered: 0 })]) {
    t.strictSame(failures([], [{ scenario, results: [resultOf('haproxy', sampleOf(1), silent)], faults: [] }]), text);
  }
  t.end();
});

t.test('more than one failed request in a thousand', (t) => {
  const load = (errors: number) =>
    resultOf('nginx', sampleOf(1, { answered: 2_000, errors }), sampleOf(1, { answered: 997 }));
  t.strictSame(failures([], [{ scenario, results: [load(2)], faults: [] }]), []);
  t.strictSame(failures([], [{ scenario, results: [load(3)], faults: [] }]), []);
  t.strictSame(failures([], [{ scenario, results: [load(4)], faults: [] }]), [
    'http-small: nginx failed 4 of 3001 requests, more than 1 in 1000',
  ]);
  t.end();
});

t.test('a chain that did not start, and a scenario that nobody took part in', (t) => {
  t.strictSame(failures([], [{ scenario, results: [], faults: ['haproxy: changed a byte'] }]), [
    'http-small: haproxy: changed a byte',
  ]);
  t.strictSame(failures([], [{ scenario, results: [], faults: [] }]), [
    'http-small: no peer that knows its protocol took part',
  ]);
  t.end();
});
