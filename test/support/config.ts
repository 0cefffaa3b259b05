import { SidelockErrors } from '../../src/base/errors.ts';
import type { Kind } from '../../src/config/kinds.ts';
import { loadConfig } from '../../src/config/load.ts';

/** `CODE message` of each problem that loading `text` finds. */
export function problemsIn(kind: Kind, text: string, env: Readonly<Record<string, string>> = {}): string[] {
  return errorsIn(kind, text, env).map(({ code, message }) => `${code} ${message}`);
}

export function errorsIn(kind: Kind, text: string, env: Readonly<Record<string, string>> = {}) {
  try {
    loadConfig(kind, { file: { name: 'c.yaml', text }, env });
    return [];
  } catch (error) {
    if (error instanceof SidelockErrors) return error.errors;
    throw error;
  }
}
