import type { Figure } from './figures.ts';
import { duration, megabytes, number, percent } from './format.ts';
import type { Verdict } from './judge.ts';
import { QUANTITIES, type QuantityName, valuesOf } from './quantities.ts';
import type { Measured, Pss, Result } from './results.ts';
import type { Scenario } from './scenarios.ts';
import { median, spread } from './statistics.ts';
import { bars, table } from './table.ts';

/** A table, and bars of what the scenario is about. */
export function renderScenario(scenario: Scenario, { results, faults, direct }: Omit<Measured, 'scenario'>): string {
  const header = [
    ...[
      '',
      'req/s',
      'MB/s',
      'p50',
      'p95',
      'p99',
      'CPU us server/client',
      '+-',
      'of it kernel',
      'PSS MB idle',
      'loaded',
    ],
    ...['x ghostunnel', '+-', 'x haproxy', '+-'],
    ...(scenario.close ? ['connections a CPU s'] : []),
  ];
  const rows = results.map((r) => {
    const middle = (name: QuantityName) => median(valuesOf(r, name));
    return [
      r.peer,
      number(middle('requests')),
      number(middle('megabytes')),
      duration(middle('p50')),
      duration(middle('p95')),
      duration(middle('p99')),
      `${middle('cpuServer').toFixed(1)}/${middle('cpuClient').toFixed(1)}`,
      percent(spread(valuesOf(r, 'cpu'))),
      percent(middle('kernel') / middle('cpu')),
      pss(r.pssIdle),
      pss(loadedPss(r)),
      ...ratio(r, results, 'ghostunnel'),
      ...ratio(r, results, 'haproxy'),
      ...(scenario.close ? [number(middle('handshakes'))] : []),
    ];
  });
  const lost = results.flatMap(({ peer, samples }) => {
    const errors = samples.reduce((sum, s) => sum + s.errors, 0);
    return errors > 0 ? [`${peer}: ${errors} failed requests`] : [];
  });
  const { title, unit } = QUANTITIES[scenario.shows];
  return `
${scenario.name}: ${scenario.title}
${table([header, ...rows])}${direct === undefined ? '' : `  nothing between: ${number(direct)} req/s\n`}${[...faults, ...lost].map((text) => `  ! ${text}\n`).join('')}
  ${title}
${bars(results.map((r) => ({ name: r.peer, value: median(valuesOf(r, scenario.shows)), unit })))}`;
}

export function renderFigures(figures: readonly Figure[]): string {
  return `\nThe figures of the guide\n${table(figureRows(figures))}`;
}

/** The head is the first. */
export function figureRows(figures: readonly Figure[]): string[][] {
  const rows = figures.map(({ name, p50Ms, p95Ms, p99Ms, spread, targetMs }) => [
    name,
    ...[p50Ms, p95Ms, p99Ms].map((ms) => ms.toFixed(2)),
    percent(spread),
    ...(targetMs === undefined ? ['-', ''] : [`${targetMs}`, p95Ms < targetMs ? 'met' : 'MISSED']),
  ]);
  return [['milliseconds', 'p50', 'p95', 'p99', 'p95 +-', 'asked p95 <', ''], ...rows];
}

export function renderVerdicts(verdicts: readonly Verdict[]): string {
  return verdicts.length === 0 ? '' : `\nThe budgets of the design\n${table(verdictRows(verdicts))}`;
}

/** The head is the first. */
export function verdictRows(verdicts: readonly Verdict[]): string[][] {
  const rows = verdicts.map(({ work, what, between, found, spread, unit, sign, bound, note, held }) => [
    work,
    between,
    what,
    found === undefined ? '-' : `${found.toFixed(2)} ${unit}`,
    found === undefined ? '' : percent(spread),
    `${sign} ${bound}`,
    held === undefined ? 'not measured' : held ? 'held' : 'MISSED',
    note,
  ]);
  return [['work', 'between', 'what', 'median', '+-', 'budget', '', ''], ...rows];
}

export function loadedPss({ samples }: Result): Pss {
  return {
    server: median(samples.map((s) => s.pss.server)),
    client: median(samples.map((s) => s.pss.client)),
  };
}

/** Of the CPU a request costs in both ends: the median over the runs, and how far they lie apart. */
function ratio(result: Result, all: readonly Result[], peer: string): [string, string] {
  const other = all.find((r) => r.peer === peer);
  if (other === undefined) return ['-', ''];
  const theirs = valuesOf(other, 'cpu');
  const ratios = valuesOf(result, 'cpu').map((own, run) => own / (theirs[run] ?? Number.NaN));
  return [median(ratios).toFixed(2), percent(spread(ratios))];
}

function pss({ server, client }: Pss): string {
  return `${megabytes(server)}/${megabytes(client)}`;
}
