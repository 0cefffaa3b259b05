import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findProgram } from '../test/support/programs.ts';

export function programPath(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed: run test/setup.sh`);
  return path;
}

/** What a program says its version is; undefined when it, or one of the files it needs, is not there. */
export function programVersion(
  name: string,
  args: readonly string[],
  files: readonly string[] = [],
): string | undefined {
  const path = findProgram(name);
  if (path === undefined || !files.every((file) => existsSync(file))) return undefined;
  const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8' });
  const [line = ''] = `${stdout}${stderr}`.split('\n');
  // One that was built by hand names its branch and its compiler.
  return /^rev (\S+)/.exec(line)?.[1] ?? /\d+(?:\.\d+)+/.exec(line)?.[0] ?? line.trim();
}
