import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the page is, seen from this file: in the bundle, in the package, and in a checkout after `npm run build:page`. */
const PLACES = ['page', '../page', '../../dist/page'];

/** The files of the dashboard; undefined where they were not built, and the manager does without. */
export async function readPage(): Promise<ReadonlyMap<string, Buffer> | undefined> {
  for (const place of PLACES) {
    const directory = join(import.meta.dirname, place);
    const names = await readdir(directory).catch((): string[] => []);
    if (!names.includes('index.html')) continue;
    const files = names.map(async (name) => [name, await readFile(join(directory, name))] as const);
    return new Map(await Promise.all(files));
  }
  return undefined;
}
