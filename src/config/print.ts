import { stringify } from 'yaml';
import { formatOrigin, formatPath, type Origin, type Path } from './setting.ts';

/** The config that is in effect, as YAML that can be loaded again. */
export function printConfig(effective: unknown): string {
  return stringify(effective, { schema: 'core', lineWidth: 0 });
}

/** Kubernetes objects as one file. */
export function printManifests(objects: readonly unknown[]): string {
  return objects
    .map((object) => `---\n${stringify(object, { compat: 'yaml-1.1', lineWidth: 0, aliasDuplicateObjects: false })}`)
    .join('');
}

/** One line a value with where it came from: `ca.name: AI-Teddy-CA   # env MTLS_CA_NAME`. */
export function printOrigins(effective: unknown, origin: (path: Path) => Origin): string {
  const lines = [...leaves(effective, [])].map(({ path, value }) => ({
    left: `${formatPath(path)}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    right: formatOrigin(origin(path)),
  }));
  const width = Math.max(0, ...lines.map(({ left }) => left.length));
  return lines.map(({ left, right }) => `${left.padEnd(width)}  # ${right}\n`).join('');
}

function* leaves(value: unknown, path: Path): Generator<{ path: Path; value: unknown }> {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  if (inner.length === 0) yield { path, value };
  for (const [key, child] of inner) yield* leaves(child, [...path, Array.isArray(value) ? Number(key) : key]);
}
