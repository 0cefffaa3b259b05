import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';

/** Of the package that this file is part of, as source, compiled or bundled. */
export function packageVersion(): string {
  const file = findPackageJSON(import.meta.url);
  if (file === undefined) throw new Error(`no package.json above ${import.meta.url}`);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return version;
}
