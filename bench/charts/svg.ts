type Attributes = Readonly<Record<string, string | number>>;

export const INK = '#1f2933';
export const FAINT = '#9aa5b1';
const GRID = '#e4e7eb';

/** One element, its children as they are. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const list = Object.entries(attributes).map(
    ([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escaped(value)}"`,
  );
  return children.length === 0
    ? `<${name}${list.join('')}/>\n`
    : `<${name}${list.join('')}>${children.join('')}</${name}>\n`;
}

export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, fill: INK, 'font-size': 11, ...attributes }, escaped(content));
}

export function line(x1: number, y1: number, x2: number, y2: number, attributes: Attributes = {}): string {
  return element('line', { x1, y1, x2, y2, stroke: GRID, ...attributes });
}

/** Its children moved there. */
export function at(x: number, y: number, ...children: readonly string[]): string {
  return element('g', { transform: `translate(${round(x)} ${round(y)})` }, ...children);
}

/** A whole picture on white, with a title that is read aloud. */
export function picture(width: number, height: number, title: string, ...children: readonly string[]): string {
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${round(width)} ${round(height)}`,
      width,
      'font-family': 'system-ui, sans-serif',
      role: 'img',
    },
    element('title', {}, escaped(title)),
    element('rect', { width, height, fill: '#ffffff' }),
    ...children,
  );
}

/** About four round values from 0 to at least `most`. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
