import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..');
const DIRECTORY = join(ROOT, 'dist/bundle');
const MAIN = join(DIRECTORY, 'main.js');

/** How the image runs the sidecar: the same flags, the same bundle, V8's code cache made beforehand. */
export const SIDECAR = {
  command: process.execPath,
  args: [
    ...['--disable-sigusr1', '--expose-gc', '--max-semi-space-size=4', '--heap-growing-percent=20'],
    ...[MAIN, 'sidecar'],
  ],
  env: {
    NODE_COMPILE_CACHE: join(DIRECTORY, 'cache'),
    MALLOC_ARENA_MAX: '1',
    MALLOC_MMAP_THRESHOLD_: '262144',
    MALLOC_TRIM_THRESHOLD_: '1048576',
  },
} as const;

/** Writes the bundle of this tree, and fills its code cache. */
export async function buildBundle(): Promise<void> {
  await promisify(execFile)(process.execPath, ['docker/bundle.ts'], { cwd: ROOT });
  await promisify(execFile)(process.execPath, [MAIN, '--version'], { env: { ...process.env, ...SIDECAR.env } });
}
