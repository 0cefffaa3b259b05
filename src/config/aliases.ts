import { SidelockError } from '../base/errors.ts';
import type { Place } from './problems.ts';
import { formatPath, type Path, valueAt, withoutValue, withValue } from './setting.ts';

interface Alias {
  /** The guide's spelling and, where it is no key of ours, that spelling in camel case. */
  readonly paths: readonly Path[];
  readonly key: Path;
  /** The guide's bare number as the value of our key; other values are left for the schema to judge. */
  readonly convert: (value: unknown) => unknown;
}

/** The names of the guide's MTLS_CONFIG for keys that are called otherwise here. */
export const MANAGER_ALIASES: readonly Alias[] = [
  alias(['ca', 'key_size'], ['ca', 'keySize'], (value) => value),
  alias(['ca', 'validity_years'], ['ca', 'validityYears'], (value) => value),
  alias(['certificates', 'key_size'], ['certificates', 'keyType'], (value) => `rsa-${value}`),
  alias(['certificates', 'validity_days'], ['certificates', 'validity'], withUnit('d')),
  alias(['certificates', 'rotation_threshold_days'], ['certificates', 'rotationThreshold'], withUnit('d')),
  alias(['monitoring', 'health_check_interval'], ['monitoring', 'healthCheckInterval'], withUnit('s')),
  alias(['monitoring', 'metrics_collection_interval'], ['monitoring', 'metricsCollectionInterval'], withUnit('s')),
];

function alias(path: readonly [string, string], key: Path, convert: Alias['convert']): Alias {
  const camel: Path = [path[0], path[1].replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())];
  return { paths: formatPath(camel) === formatPath(key) ? [path] : [path, camel], key, convert };
}

function withUnit(unit: string): Alias['convert'] {
  return (value) => (/^\d+$/.test(String(value)) ? `${value}${unit}` : value);
}

interface Renamed {
  readonly value: unknown;
  /** From our path to the one the file has. */
  readonly moved: ReadonlyMap<string, Path>;
  readonly twice: ReadonlyArray<{ readonly path: Path; readonly key: Path }>;
}

/** Puts each value that stands under an alias where the schema looks for it. */
export function resolveAliases(value: unknown, aliases: readonly Alias[]): Renamed {
  const moved = new Map<string, Path>();
  const twice: Array<{ path: Path; key: Path }> = [];
  let tree = value;
  for (const { paths, key, convert } of aliases) {
    for (const path of paths) {
      const found = valueAt(tree, path);
      if (found === undefined) continue;
      tree = withoutValue(tree, path);
      if (valueAt(tree, key) !== undefined) twice.push({ path, key });
      else {
        tree = withValue(tree, key, convert(found));
        moved.set(formatPath(key), path);
      }
    }
  }
  return { value: tree, moved, twice };
}

export function givenTwice(place: Place, first: string, second: string): SidelockError {
  const message = `${place.text} ${second}: the same setting as ${first}, and both are given`;
  return new SidelockError('SL-CFG-003', message, { fix: 'keep one of them', data: { line: place.line } });
}
