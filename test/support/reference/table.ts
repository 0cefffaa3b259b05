/** A table of Markdown. */
export function table(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return `${line(header)}|${'---|'.repeat(header.length)}\n${rows.map(line).join('')}`;
}
