import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ERROR_PAGES } from '../../src/base/errors.ts';

/** Generated parts of the documents, by the name in their markers. `npm run docs` writes them. */
const PARTS: Readonly<Record<string, () => string>> = { 'error-codes': errorTable };

export const root = join(import.meta.dirname, '../..');

/** `text` with every marked part written anew. A marker without a known name throws. */
export function generate(text: string): string {
  return text.replace(/<!-- generated: (\S+) -->\n.*?<!-- end -->/gs, (_, name: string) => {
    const part = PARTS[name];
    if (part === undefined) throw new RangeError(`no generated part is called ${name}`);
    return `<!-- generated: ${name} -->\n${part()}<!-- end -->`;
  });
}

function errorTable(): string {
  const rows = Object.entries(ERROR_PAGES).map(([code, { title, fix }]) => `| \`${code}\` | ${title} | ${cell(fix)} |`);
  return ['| code | what it says | what to do |', '|---|---|---|', ...rows, ''].join('\n');
}

/** A pipe would end the cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

if (import.meta.main) {
  const readme = join(root, 'README.md');
  await writeFile(readme, generate(await readFile(readme, 'utf8')));
}
