import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Skippable {
  pass(message: string, extra: { skip: string }): unknown;
  fail(message: string): unknown;
}

/**
 * The path of a program that a test needs. When it is missing the test is skipped with a line that says
 * what installs it, or fails where skips are forbidden (SIDELOCK_FORBID_SKIP=1, as in CI).
 */
export function requireProgram(
  t: Skippable,
  name: string,
  extraDirectories: readonly string[] = [],
): string | undefined {
  const found = findProgram(name, extraDirectories);
  if (found !== undefined) return found;
  const message = `${name} is not installed: run test/setup.sh`;
  if (process.env['SIDELOCK_FORBID_SKIP'] === '1') t.fail(message);
  else t.pass(name, { skip: message });
  return undefined;
}

export function findProgram(name: string, extraDirectories: readonly string[] = []): string | undefined {
  const directories = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...extraDirectories,
    '/usr/sbin',
    '/usr/local/bin',
  ];
  for (const directory of directories) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here: look in the next directory.
    }
  }
  return undefined;
}
