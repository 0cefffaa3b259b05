import { printable } from './failure.ts';

interface TableOptions {
  /** Columns of the terminal; lines are cut there, and never in a pipe. */
  readonly width: number | undefined;
  readonly headers?: boolean;
}

/** No borders, two spaces between columns, headers in capitals, the last column as long as it is. */
export function table(
  headers: readonly string[],
  rows: ReadonlyArray<readonly string[]>,
  options: TableOptions,
): string {
  const clean = rows.map((row) => row.map(printable));
  const lines = options.headers === false ? clean : [headers.map((header) => header.toUpperCase()), ...clean];
  const widths = headers.map((_, i) => Math.max(0, ...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
    .map((line) => `${line.trimEnd().slice(0, options.width)}\n`)
    .join('');
}

/** `29 d`, `5 h`, `3 min`, `12 s`: the largest unit that is not zero, of a span in ms. */
export function roughly(ms: number): string {
  const span = Math.abs(ms);
  for (const [name, size] of SPANS) if (span >= size) return `${Math.round(span / size)} ${name}`;
  return `${Math.round(span / 1_000)} s`;
}

const SPANS: ReadonlyArray<readonly [string, number]> = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
];

/** `2027-01-02` */
export function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
