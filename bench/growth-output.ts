import { bend } from './bend.ts';
import { type LinePanel, lineChart } from './charts/lines.ts';
import type { Curve } from './curves.ts';
import { duration, number } from './format.ts';
import { QUANTITIES, type QuantityName, valuesOf } from './quantities.ts';
import { provenance } from './relay-output.ts';
import type { Measured } from './results.ts';
import type { About } from './run.ts';
import { median } from './statistics.ts';
import { markdownTable, table } from './table.ts';

export interface CurveResult {
  readonly curve: Curve;
  readonly points: ReadonlyArray<{ readonly x: number; readonly measured: Measured }>;
}

/** What is drawn of a curve, by what grows along it. */
const SHOWN: Readonly<Record<Curve['axis'], readonly QuantityName[]>> = {
  connections: ['requests', 'cpu', 'p99'],
  'KiB a body': ['megabytes', 'cpu', 'p99'],
};

export function renderCurve(result: CurveResult): string {
  const { curve, points } = result;
  const faults = new Set(points.flatMap(({ measured }) => measured.faults));
  return `
${curve.name}: ${curve.title}
${table(pointRows(result))}${[...faults].map((fault) => `  ! ${fault}\n`).join('')}
  Where it bends
${table(bendRows(result))}`;
}

export function growthMarkdown(about: About, curves: readonly CurveResult[]): string {
  return [
    provenance(about),
    ...curves.flatMap((result) => [
      `${result.curve.title}: where it bends, and all points.\n`,
      markdownTable(bendRows(result)),
      markdownTable(pointRows(result)),
    ]),
    '![the curves](growth.svg)\n',
  ].join('\n');
}

export function growthChart(curves: readonly CurveResult[]): string {
  return lineChart('sidelock and others under growing load', curves.map(panelsOf));
}

function panelsOf(result: CurveResult): LinePanel[] {
  return SHOWN[result.curve.axis].map((quantity) => {
    const { title, unit } = QUANTITIES[quantity];
    return {
      title: `${result.curve.protocol.toUpperCase()}: ${title}, ${unit}`,
      axis: result.curve.axis,
      lines: peersOf(result).map((name) => {
        const points = pointsOf(result, name, quantity);
        const found = bend(points);
        return { name, points, ...(found === undefined ? {} : { bend: found }) };
      }),
    };
  });
}

/** A row for each point, three cells for each peer in one. */
function pointRows(result: CurveResult): string[][] {
  const [amount = 'requests'] = SHOWN[result.curve.axis];
  const peers = peersOf(result);
  const rows = result.points.map(({ x, measured }) => [
    `${x}`,
    ...peers.map((peer) => {
      const found = measured.results.find((r) => r.peer === peer);
      if (found === undefined) return '-';
      const middle = (name: QuantityName) => median(valuesOf(found, name));
      return `${number(middle(amount))} / ${number(middle('cpu'))} us / ${duration(middle('p99'))}`;
    }),
  ]);
  const { title, unit } = QUANTITIES[amount];
  return [[result.curve.axis, ...peers.map((peer) => `${peer}: ${title} ${unit} / CPU / p99`)], ...rows];
}

function bendRows(result: CurveResult): string[][] {
  const shown = SHOWN[result.curve.axis];
  const rows = peersOf(result).map((peer) => [
    peer,
    ...shown.map((quantity) => {
      const points = pointsOf(result, peer, quantity);
      const found = bend(points);
      const [, value = 0] = points.find(([x]) => x === found) ?? [];
      return found === undefined ? 'nowhere' : `${found} (${number(value)} ${QUANTITIES[quantity].unit})`;
    }),
  ]);
  return [[result.curve.axis, ...shown.map((quantity) => QUANTITIES[quantity].title)], ...rows];
}

function peersOf({ points }: CurveResult): string[] {
  return [...new Set(points.flatMap(({ measured }) => measured.results.map(({ peer }) => peer)))];
}

function pointsOf({ points }: CurveResult, peer: string, quantity: QuantityName): [number, number][] {
  return points.flatMap(({ x, measured }) => {
    const found = measured.results.find((r) => r.peer === peer);
    return found === undefined ? [] : [[x, median(valuesOf(found, quantity))] as [number, number]];
  });
}
