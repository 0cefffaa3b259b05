import { PSS_BUDGETS, RATIO_BUDGETS, type RatioBudget } from './budgets.ts';
import type { Figure } from './figures.ts';
import { QUANTITIES, type QuantityName, valuesOf } from './quantities.ts';
import type { Measured, Result } from './results.ts';
import { median, spread } from './statistics.ts';

/** One line of the design's budget table. */
export interface Verdict {
  readonly work: string;
  readonly what: string;
  readonly between: RatioBudget['between'] | '';
  /** A median; absent where this run did not measure it. */
  readonly found?: number;
  /** Half of what the runs lie apart, as a share of the median. */
  readonly spread: number;
  /** `x haproxy`, `ms` or `MB`. */
  readonly unit: string;
  readonly sign: '<=' | '>=';
  readonly bound: number;
  /** The chain that was judged, where there were several, and what the others had. */
  readonly note: string;
  readonly held?: boolean;
}

/** Every line of which at least the scenario ran, in the order of the design. */
export function judge(figures: readonly Figure[], measured: readonly Measured[]): Verdict[] {
  const scenarios = new Map(measured.map((m) => [m.scenario, m.results]));
  const direct = new Map(measured.map((m) => [m.scenario, m.direct]));
  const ratios = RATIO_BUDGETS.flatMap((budget) => {
    const results = scenarios.get(budget.scenario);
    return results === undefined ? [] : [judgeRatio(budget, results, direct.get(budget.scenario))];
  });
  return [...ratios, ...figures.map(judgeFigure), ...judgePss(scenarios)];
}

function judgeRatio(
  { work, between, subjects, against, ratio: bound }: RatioBudget,
  results: readonly Result[],
  direct: number | undefined,
): Verdict {
  const { better } = QUANTITIES[subjects[0]?.quantity ?? 'cpu'];
  const [worse, sign] = better === 'lower' ? [descending, '<=' as const] : [ascending, '>=' as const];
  const [worst, ...rest] = subjects
    .flatMap(({ peer, quantity }) => {
      const ratios = ratiosOf(peer, quantity, against, results);
      return ratios.length === 0 ? [] : [{ peer, found: median(ratios), spread: spread(ratios) }];
    })
    .toSorted((a, b) => worse(a.found, b.found));
  const line = {
    work,
    what: titleOf(subjects[0]?.quantity ?? 'cpu'),
    between,
    unit: `x ${against.length > 1 ? 'the best of ' : ''}${against.join(', ')}`,
    sign,
    bound,
  };
  if (worst === undefined)
    return { ...line, spread: 0, note: `needs ${[...against, subjects[0]?.peer].join(' and ')}` };
  return {
    ...line,
    found: worst.found,
    spread: worst.spread,
    note:
      subjects.length === 1
        ? boundOf(subjects[0], against, results, direct)
        : [worst.peer, ...rest.map((r) => `${r.peer} ${r.found.toFixed(2)}`)].join(', '),
    held: within(worst.found, sign, bound),
  };
}

/** What the ratio would be if our own code took no time at all, or if nothing stood between. */
function boundOf(
  subject: RatioBudget['subjects'][number] | undefined,
  against: readonly string[],
  results: readonly Result[],
  direct: number | undefined,
): string {
  if (subject?.quantity === 'requests' && direct !== undefined) {
    const theirs = results.filter((r) => against.includes(r.peer)).map((r) => median(valuesOf(r, 'requests')));
    return `nothing between ${(direct / Math.max(...theirs)).toFixed(1)}`;
  }
  if (subject?.quantity !== 'cpu') return '';
  return `the kernel's part alone ${median(ratiosOf(subject.peer, 'kernel', against, results, 'cpu')).toFixed(2)}`;
}

/** One ratio a run, of `theirs` where it is not the same quantity; empty when one of the two did not run to the end. */
function ratiosOf(
  peer: string,
  quantity: QuantityName,
  against: readonly string[],
  results: readonly Result[],
  theirs: QuantityName = quantity,
): number[] {
  const own = results.find((r) => r.peer === peer);
  const others = results.filter((r) => against.includes(r.peer)).map((r) => valuesOf(r, theirs));
  if (own === undefined || others.length === 0) return [];
  const best = QUANTITIES[quantity].better === 'lower' ? Math.min : Math.max;
  const ratios = valuesOf(own, quantity).map(
    (value, run) => value / best(...others.map((values) => values[run] ?? NaN)),
  );
  return ratios.every((ratio) => Number.isFinite(ratio)) ? ratios : [];
}

function judgeFigure({ name, p95Ms, spread, budgetMs }: Figure): Verdict {
  return absolute(name, 'p95', { found: p95Ms, spread, unit: 'ms', bound: budgetMs, note: '' });
}

function judgePss(scenarios: ReadonlyMap<string, readonly Result[]>): Verdict[] {
  const { idle, loaded } = PSS_BUDGETS;
  const own = [...scenarios].flatMap(([name, results]) =>
    results.filter((r) => r.peer === 'sidelock' && r.samples.length > 0).map((result) => ({ name, result })),
  );
  const largest = ({ server, client }: Result['pssIdle']) => Math.max(server, client) / 1e6;
  const starts = own.map(({ result }) => largest(result.pssIdle));
  const [most] = own
    .filter(({ name }) => (loaded.scenarios as readonly string[]).includes(name))
    .map(({ name, result }) => ({ name, values: result.samples.map(({ pss }) => largest(pss)) }))
    .toSorted((a, b) => median(b.values) - median(a.values));
  const line = (work: string, bound: number, values: readonly number[], note: string) =>
    absolute(work, 'the larger end', { found: median(values), spread: spread(values), unit: 'MB', bound, note });
  return [
    ...(starts.length > 0 ? [line(idle.work, idle.megabytes, starts, '')] : []),
    ...(most === undefined ? [] : [line(loaded.work, loaded.megabytes, most.values, most.name)]),
  ];
}

function absolute(
  work: string,
  what: string,
  measured: Pick<Verdict, 'spread' | 'unit' | 'bound' | 'note'> & { readonly found: number },
): Verdict {
  return { work, what, between: '', sign: '<=', ...measured, held: measured.found <= measured.bound };
}

function titleOf(quantity: QuantityName): string {
  return QUANTITIES[quantity].title.split(',', 1)[0] ?? '';
}

function within(found: number, sign: Verdict['sign'], bound: number): boolean {
  return sign === '<=' ? found <= bound : found >= bound;
}

function ascending(a: number, b: number): number {
  return a - b;
}

function descending(a: number, b: number): number {
  return b - a;
}
