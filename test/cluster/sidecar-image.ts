import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { importImage, makeImage } from './image.ts';

const root = join(import.meta.dirname, '../..');
/** Set for tests that are run together: they share the image too. */
export const IMPORTED = 'SIDELOCK_CLUSTER_IMAGE_IMPORTED';
export const SIDECAR_IMAGE = 'docker.io/local/sidelock-sidecar:test';
/** Runs as the same image: the apps of the tests are a few lines for its Node. */
export const NODE = '/usr/local/bin/node';

/** The program as it stands in the tree, with its packages and this Node, given to the node of the cluster. */
export function importSidecarImage(programs: string): void {
  if (process.env[IMPORTED] !== undefined) return;
  const files: Record<string, string> = {
    [NODE]: process.execPath,
    '/app/src': join(root, 'src'),
    '/app/package.json': join(root, 'package.json'),
  };
  for (const name of packages(Object.keys(dependenciesOf(root)))) {
    files[`/app/node_modules/${name}`] = join(root, 'node_modules', name);
  }
  for (const library of libraries()) files[library] = library;
  const command = [NODE, '--disable-sigusr1', '/app/src/cli/main.ts'];
  importImage(programs, makeImage(SIDECAR_IMAGE, { files, command }));
}

/** What the packages need themselves, too. */
function packages(names: readonly string[], found = new Set<string>()): Set<string> {
  for (const name of names) {
    const directory = join(root, 'node_modules', name);
    if (found.has(name) || !existsSync(directory)) continue;
    found.add(name);
    packages(Object.keys(dependenciesOf(directory)), found);
  }
  return found;
}

function dependenciesOf(directory: string): Readonly<Record<string, string>> {
  const { dependencies = {} }: { dependencies?: Record<string, string> } = JSON.parse(
    readFileSync(join(directory, 'package.json'), 'utf8'),
  );
  return dependencies;
}

/** The system libraries of this Node. */
function libraries(): string[] {
  const text = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
  return [...text.matchAll(/\/\S+/g)].map(([path]) => path);
}
