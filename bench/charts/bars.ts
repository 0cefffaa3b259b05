import { number } from '../format.ts';
import { colorOf } from './colors.ts';
import { at, element, FAINT, INK, line, picture, text } from './svg.ts';

interface Bar {
  readonly name: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
}

export interface BarPanel {
  readonly title: string;
  /** What the bars are, and which way is better. */
  readonly caption: string;
  readonly bars: readonly Bar[];
}

const PANEL = 480;
const NAMES = 110;
const VALUES = 60;
const ROW = 17;
const HEAD = 44;
const GAP = 24;

/** Panels in two columns, filled from top to bottom: a bar for each peer, a thin line from its least run to its most. */
export function barChart(title: string, panels: readonly BarPanel[]): string {
  const half = Math.ceil(panels.length / 2);
  const columns = [panels.slice(0, half), panels.slice(half)].filter((column) => column.length > 0);
  const drawn = columns.map((column, i) => {
    let y = GAP;
    const pieces = column.map((panel) => {
      const piece = at(GAP + i * (PANEL + GAP), y, drawPanel(panel));
      y += HEAD + panel.bars.length * ROW + GAP;
      return piece;
    });
    return { pieces, height: y };
  });
  const height = Math.max(GAP, ...drawn.map((column) => column.height));
  return picture(GAP + columns.length * (PANEL + GAP), height, title, ...drawn.flatMap(({ pieces }) => pieces));
}

function drawPanel({ title, caption, bars }: BarPanel): string {
  const longest = Math.max(...bars.map(({ most }) => most), Number.MIN_VALUE);
  const x = (value: number) => NAMES + (value / longest) * (PANEL - NAMES - VALUES);
  return [
    text(0, 12, title, { 'font-weight': 600, 'font-size': 13 }),
    text(0, 29, caption, { fill: FAINT }),
    ...bars.map((bar, i) => {
      const y = HEAD + i * ROW;
      return [
        text(NAMES - 8, y + 10, bar.name, { 'text-anchor': 'end' }),
        element('rect', { x: NAMES, y, width: x(bar.value) - NAMES, height: ROW - 5, fill: colorOf(bar.name) }),
        line(x(bar.least), y + 6, x(bar.most), y + 6, { stroke: INK }),
        text(x(bar.most) + 6, y + 10, number(bar.value)),
      ].join('');
    }),
  ].join('');
}
