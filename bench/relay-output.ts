import { barChart } from './charts/bars.ts';
import type { Figure } from './figures.ts';
import type { Verdict } from './judge.ts';
import { QUANTITIES, valuesOf } from './quantities.ts';
import { figureRows, verdictRows } from './report.ts';
import type { Measured } from './results.ts';
import type { About } from './run.ts';
import { SCENARIOS } from './scenarios.ts';
import { median } from './statistics.ts';
import { summaryRows } from './summary.ts';
import { markdownTable } from './table.ts';

export interface Outcome extends About {
  readonly figures: readonly Figure[];
  readonly scenarios: readonly Measured[];
  readonly budgets: readonly Verdict[];
  readonly failures: readonly string[];
}

export function relayMarkdown(outcome: Outcome): string {
  const { figures, scenarios, budgets } = outcome;
  const relay = (['tcp', 'http'] as const).map((protocol) => summaryRows(protocol, scenarios));
  return [
    provenance(outcome),
    ...(budgets.length > 0 ? ['Budgets of the design:\n', markdownTable(verdictRows(budgets))] : []),
    ...(figures.length > 0 ? ['The figures of the guide:\n', markdownTable(figureRows(figures))] : []),
    ...relay
      .filter((rows) => rows.length > 0)
      .flatMap((rows) => ['Medians; CPU is microseconds a request, server end/client end:\n', markdownTable(rows)]),
    ...(scenarios.length > 0 ? ['![each scenario as bars](relay.svg)\n'] : []),
  ].join('\n');
}

/** When, where and with what, in one paragraph. */
export function provenance({ machine, versions, runs, seconds }: About): string {
  const { date, commit, cores, cpu, kernel, node, openssl } = machine;
  const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${[
    `${date.slice(0, 10)}, commit ${commit}`,
    `${cores} cores (${cpu}), Linux ${kernel}, Node ${node.slice(1)}, OpenSSL ${openssl}`,
    peers.join(', '),
    `${runs} interleaved runs with windows of ${seconds} s; \`+-\` is half of what the runs lie apart`,
  ].join('; ')}.\n`;
}

export function relayChart(scenarios: readonly Measured[]): string {
  const panels = SCENARIOS.flatMap(({ name, title, shows }) => {
    const results = scenarios.find(({ scenario }) => scenario === name)?.results ?? [];
    const { title: quantity, unit, better } = QUANTITIES[shows];
    const bars = results
      .map((result) => ({ name: result.peer, values: valuesOf(result, shows) }))
      .filter(({ values }) => values.length > 0)
      .map(({ name, values }) => ({
        name,
        value: median(values),
        least: Math.min(...values),
        most: Math.max(...values),
      }));
    const caption = `${quantity}, ${unit}; ${better} is better`;
    return bars.length === 0 ? [] : [{ title: `${name}: ${title}`, caption, bars }];
  });
  return barChart('sidelock beside other mTLS proxies', panels);
}
