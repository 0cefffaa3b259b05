import { number } from '../format.ts';
import { colorOf } from './colors.ts';
import { at, element, FAINT, line, picture, text, ticks } from './svg.ts';

interface Line {
  readonly name: string;
  readonly points: ReadonlyArray<readonly [x: number, y: number]>;
  /** x of the point that gets a ring. */
  readonly bend?: number;
}

export interface LinePanel {
  readonly title: string;
  readonly axis: string;
  readonly lines: readonly Line[];
}

const WIDTH = 340;
const HEIGHT = 190;
const LEFT = 52;
const TOP = 24;
const BOTTOM = 36;
const GAP = 20;
const LEGEND = 40;

/** Rows of panels; x doubles from tick to tick, y is linear from 0, a ring marks where a line bends. */
export function lineChart(title: string, rows: ReadonlyArray<readonly LinePanel[]>): string {
  const columns = Math.max(...rows.map((row) => row.length), 1);
  const names = [...new Set(rows.flat().flatMap(({ lines }) => lines.map(({ name }) => name)))];
  return picture(
    GAP + columns * (WIDTH + GAP),
    LEGEND + rows.length * (HEIGHT + GAP),
    title,
    ...names.map((name, i) =>
      at(
        GAP + i * 130,
        22,
        line(0, 0, 22, 0, { stroke: colorOf(name), 'stroke-width': 2.5 }),
        text(28, 4, name, { 'font-size': 12 }),
      ),
    ),
    ...rows.flatMap((row, r) =>
      row.map((panel, c) => at(GAP + c * (WIDTH + GAP), LEGEND + r * (HEIGHT + GAP), drawPanel(panel))),
    ),
  );
}

function drawPanel({ title, axis, lines }: LinePanel): string {
  const all = lines.flatMap(({ points }) => points);
  const steps = ticks(Math.max(...all.map(([, y]) => y), 0));
  const xs = [...new Set(all.map(([x]) => x))].toSorted((a, b) => a - b);
  const [first, last] = [Math.log2(xs[0] ?? 1), Math.log2(xs.at(-1) ?? 2)];
  const x = (value: number) => LEFT + ((Math.log2(value) - first) / Math.max(1, last - first)) * (WIDTH - LEFT - 8);
  const y = (value: number) => HEIGHT - BOTTOM - (value / (steps.at(-1) ?? 1)) * (HEIGHT - BOTTOM - TOP);
  return [
    text(0, 12, title, { 'font-weight': 600 }),
    ...steps.map(
      (step) =>
        line(LEFT, y(step), WIDTH - 8, y(step)) +
        text(LEFT - 6, y(step) + 4, number(step), { 'text-anchor': 'end', 'font-size': 10 }),
    ),
    ...xs.map((value) =>
      text(x(value), HEIGHT - BOTTOM + 14, `${value}`, { 'text-anchor': 'middle', 'font-size': 10 }),
    ),
    text(WIDTH - 8, HEIGHT - 6, axis, { 'text-anchor': 'end', 'font-size': 10, fill: FAINT }),
    ...lines.map(({ name, points, bend }) => {
      const stroke = colorOf(name);
      const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(' ');
      const ring = points.find(([px]) => px === bend);
      return (
        element('polyline', { points: path, fill: 'none', stroke, 'stroke-width': 2 }) +
        (ring === undefined
          ? ''
          : element('circle', { cx: x(ring[0]), cy: y(ring[1]), r: 4.5, fill: '#ffffff', stroke, 'stroke-width': 2 }))
      );
    }),
  ].join('');
}
