import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a run leaves behind. */
export interface Output {
  readonly kind: 'relay' | 'growth';
  readonly json: object;
  readonly markdown: string;
  readonly svg: string;
}

const HERE = import.meta.dirname;

/** Writes JSON, Markdown and chart beside each other, named by `date`. Returns their path without the ending. */
export async function writeResults({ kind, json, markdown, svg }: Output, date: string): Promise<string> {
  const directory = join(HERE, 'results');
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${date.replaceAll(':', '-')}-${kind}`);
  await writeFile(`${path}.json`, `${JSON.stringify(json, null, 2)}\n`);
  await writeFile(`${path}.md`, markdown);
  await writeFile(`${path}.svg`, svg);
  return path;
}

/** Puts the tables into their place in bench/README.md, and the chart beside it. */
export async function updateReadme({ kind, markdown, svg }: Output): Promise<void> {
  const path = join(HERE, 'README.md');
  await writeFile(join(HERE, `${kind}.svg`), svg);
  await writeFile(path, replaceSection(await readFile(path, 'utf8'), kind, markdown));
}

/** `text` with everything between the two comments of `name` replaced. @throws RangeError when they are not there */
export function replaceSection(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- bench: ${name} -->\n`, `<!-- bench: end of ${name} -->\n`];
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from) throw new RangeError(`there is no place for ${name}`);
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`;
}
