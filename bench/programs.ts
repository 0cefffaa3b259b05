import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findProgram } from '../test/support/programs.ts';

export function programPath(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed: run test/setup.sh`);
  return path;
}

/** The first line a program prints about itself; undefined when it, or one of the files it needs, is not there. */
export function firstLine(name: string, args: readonly string[], files: readonly string[] = []): string | undefined {
  const path = findProgram(name);
  if (path === undefined || !files.every((file) => existsSync(file))) return undefined;
  const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8' });
  return `${stdout}${stderr}`.split('\n')[0]?.trim();
}
