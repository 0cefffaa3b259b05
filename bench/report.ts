import type { Result } from './measure.ts';
import type { Scenario } from './scenarios.ts';

/** A table, a bar chart of the CPU a request costs, and the budgets of one scenario. */
export function renderScenario(scenario: Scenario, results: readonly Result[]): string {
  const header = [
    '',
    'req/s',
    'MB/s',
    'p50',
    'p99',
    'CPU us server/client',
    '+-',
    'PSS MB idle',
    'loaded',
    'x ghostunnel',
    'x haproxy',
  ];
  const rows = results.map((r) => [
    r.peer,
    Math.round(r.requestsPerSecond).toString(),
    r.megabytesPerSecond.toFixed(1),
    duration(r.p50Us),
    duration(r.p99Us),
    `${r.cpuServerUs.toFixed(1)}/${r.cpuClientUs.toFixed(1)}`,
    `${(r.cpuSpread * 100).toFixed(0)}%`,
    `${megabytes(r.pssIdle.server)}/${megabytes(r.pssIdle.client)}`,
    `${megabytes(r.pss.server)}/${megabytes(r.pss.client)}`,
    ratio(r, results, 'ghostunnel'),
    ratio(r, results, 'haproxy'),
  ]);
  const errors = results.filter((r) => r.errors > 0).map((r) => `  ! ${r.peer}: ${r.errors} failed requests\n`);
  return `
${scenario.name}: ${scenario.title}
${table([header, ...rows])}${errors.join('')}
  CPU a request, both proxies
${bars(results.map((r) => ({ name: r.peer, value: r.cpuUs, unit: 'us' })))}${budgets(scenario, results)
  .map((b) => `  ${b.met ? 'ok  ' : 'MISS'} ${b.text}\n`)
  .join('')}`;
}

const COMPARED = {
  cpuUs: { name: 'CPU a request', higherIsBetter: false },
  p50Us: { name: 'p50', higherIsBetter: false },
  p99Us: { name: 'p99', higherIsBetter: false },
  megabytesPerSecond: { name: 'MB/s', higherIsBetter: true },
  requestsPerSecond: { name: 'requests/s', higherIsBetter: true },
} as const;

export interface BudgetVerdict {
  readonly text: string;
  readonly met: boolean;
}

/** What the design allows sidelock beside the peers that ran; empty when none of them did. */
export function budgets(scenario: Scenario, results: readonly Result[]): BudgetVerdict[] {
  const own = results.find((r) => r.peer === 'sidelock');
  if (own === undefined) return [];
  return scenario.budgets.flatMap(({ figure, against, ratio: allowed }) => {
    const others = results.filter((r) => against.includes(r.peer)).map((r) => r[figure]);
    if (others.length === 0) return [];
    const { name, higherIsBetter } = COMPARED[figure];
    const found = own[figure] / (higherIsBetter ? Math.max(...others) : Math.min(...others));
    const sign = higherIsBetter ? '>=' : '<=';
    return [
      {
        text: `${name} ${found.toFixed(2)} x ${against.length > 1 ? 'the best of ' : ''}${against.join(', ')} (budget ${sign} ${allowed})`,
        met: higherIsBetter ? found >= allowed : found <= allowed,
      },
    ];
  });
}

/** Columns two spaces apart; the first one to the left, the others to the right. */
export function table(rows: ReadonlyArray<readonly string[]>): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))))
    .map((cells) => `  ${cells.join('  ').trimEnd()}\n`)
    .join('');
}

interface Bar {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

const BAR_WIDTH = 48;
/** Eighths of a block, for bars finer than a character. */
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

export function bars(entries: readonly Bar[]): string {
  const longest = Math.max(...entries.map((e) => e.value), Number.MIN_VALUE);
  const name = Math.max(...entries.map((e) => e.name.length));
  return entries
    .map((e) => {
      const eighths = Math.round((e.value / longest) * BAR_WIDTH * 8);
      const bar = '█'.repeat(eighths >> 3) + (EIGHTHS[eighths & 7] ?? '');
      return `  ${e.name.padEnd(name)}  ${bar} ${e.value.toFixed(1)} ${e.unit}\n`;
    })
    .join('');
}

function ratio(result: Result, all: readonly Result[], peer: string): string {
  const other = all.find((r) => r.peer === peer);
  return other === undefined ? '-' : (result.cpuUs / other.cpuUs).toFixed(2);
}

function duration(us: number): string {
  return us < 1_000 ? `${Math.round(us)} us` : `${(us / 1_000).toFixed(1)} ms`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
