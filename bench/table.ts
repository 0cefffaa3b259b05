import { number } from './format.ts';

/** Columns two spaces apart; the first one to the left, the others to the right. */
export function table(rows: ReadonlyArray<readonly string[]>): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))))
    .map((cells) => `  ${cells.join('  ').trimEnd()}\n`)
    .join('');
}

/** The same rows in Markdown; the first one is the head. */
export function markdownTable([head = [], ...rows]: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('');
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
      return `  ${e.name.padEnd(name)}  ${bar} ${number(e.value)} ${e.unit}\n`;
    })
    .join('');
}
