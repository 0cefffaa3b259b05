import { SidelockError, SidelockErrors } from '../base/errors.ts';
import { givenTwice, resolveAliases } from './aliases.ts';
import { type Environment, fromEnvironment } from './environment.ts';
import { type Config, isKind, KIND_NAMES, KINDS, type Kind } from './kinds.ts';
import { issueText, type Place, problemsOf } from './problems.ts';
import { formatOrigin, formatPath, type Origin, type Path, type Setting, valueAt, withValue } from './setting.ts';
import { formOf, type Shape } from './shape.ts';
import { readYaml } from './yaml.ts';

interface ConfigSources {
  /** Text of the config file and the name it has in messages; without one, the other layers are all there is. */
  readonly file?: { readonly name: string; readonly text: string } | undefined;
  readonly env: Environment;
  readonly flags?: readonly Setting[];
}

export interface LoadedConfig<K extends Kind> {
  readonly kind: K;
  readonly config: Config<K>;
  /** The same before durations and addresses were read, defaults filled in: what `config print` shows. */
  readonly effective: unknown;
  origin(path: Path): Origin;
}

/**
 * Defaults < file < environment < flags. The result is frozen.
 * @throws SidelockErrors that lists every problem at once, each with file, line and column or the variable it came from.
 */
export function loadConfig<K extends Kind>(kind: K, sources: ConfigSources): LoadedConfig<K> {
  const { schema, shape, aliases } = KINDS[kind];
  const name = sources.file?.name ?? 'command line';
  const yaml = readYaml(sources.file?.text ?? '', name);
  const said = valueAt(yaml.value, ['kind']);
  if (yaml.whole && said !== undefined && said !== kind) throw otherKind(name, kind, said);

  const { value: fromFile, moved, twice } = resolveAliases(yaml.value, aliases);
  const env = fromEnvironment(shape, aliases, sources.env);
  const settings = [...env.settings, ...(sources.flags ?? [])];
  const given = settings.reduce((tree, { path, value }) => withValue(tree, path, value), fromFile);
  const effective = withDefaults(shape, given);

  const inFile = (path: Path) => yaml.locate(renamed(path, moved));
  const origin = (path: Path): Origin => {
    const setting = settings.findLast((s) => startsWith(path, s.path));
    if (setting !== undefined) return setting.origin;
    const position = inFile(path);
    return position === undefined ? { from: 'default' } : { from: 'file', file: name, ...position };
  };
  const where = (path: Path): Place => {
    for (let length = path.length; length > 0; length--) {
      const found = origin(path.slice(0, length));
      if (found.from !== 'default') return { text: formatOrigin(found), line: found.from === 'file' ? found.line : 0 };
    }
    return { text: name, line: 0 };
  };

  const result = schema.safeParse(effective, { error: issueText });
  const problems = [
    ...yaml.problems,
    ...twice.map(({ path, key }) => givenTwice(where(key), formatPath(path), formatPath(key))),
    ...env.problems,
    ...(result.success || !yaml.whole
      ? []
      : result.error.issues.flatMap((issue) => problemsOf(issue, { shape, tree: effective, where }))),
  ];
  if (problems.length > 0 || !result.success)
    throw new SidelockErrors(headline(name, problems.length), byPlace(problems));
  return { kind, config: deepFreeze(result.data), effective, origin };
}

/** Which kind a config file says it is. */
export function kindOf(text: string, name: string): Kind {
  const { value, problems } = readYaml(text, name);
  const kind = valueAt(value, ['kind']);
  if (isKind(kind)) return kind;
  if (problems.length > 0) throw new SidelockErrors(headline(name, problems.length), problems);
  throw new SidelockError('SL-CFG-003', `${name} kind: ${kind === undefined ? 'is missing' : 'unknown'}`, {
    why: kind === undefined ? undefined : `found ${JSON.stringify(kind)}`,
    fix: `say kind: ${KIND_NAMES.join(' or ')}`,
  });
}

function otherKind(name: string, kind: Kind, said: unknown): SidelockErrors {
  const error = new SidelockError('SL-CFG-003', `${name} is no config of kind ${kind}`, {
    why: `it says kind: ${String(said)}`,
    fix: `give a file of kind ${kind}`,
  });
  return new SidelockErrors(headline(name, 1), [error]);
}

function headline(name: string, count: number): string {
  return `${name}: ${count} ${count === 1 ? 'problem' : 'problems'}`;
}

function renamed(path: Path, moved: ReadonlyMap<string, Path>): Path {
  const [first, second, ...rest] = path;
  const to = first === undefined || second === undefined ? undefined : moved.get(formatPath([first, second]));
  return to === undefined ? path : [...to, ...rest];
}

function startsWith(path: Path, prefix: Path): boolean {
  return prefix.length <= path.length && prefix.every((part, i) => part === path[i]);
}

/** In the order of the schema, with the default of each key that is missing or left empty. */
function withDefaults(shape: Shape, value: unknown): unknown {
  const own = value === undefined || value === null ? structuredClone(shape.fallback) : value;
  if (shape.is === 'list' && Array.isArray(own)) return own.map((item) => withDefaults(shape.element, item));
  if (shape.is !== 'object' || typeof own !== 'object' || own === null || Array.isArray(own)) return own;
  const filled: Record<string, unknown> = {};
  for (const [key, child] of formOf(shape, own).keys) {
    const inner = withDefaults(child, Object.hasOwn(own, key) ? Reflect.get(own, key) : undefined);
    if (inner !== undefined) filled[key] = inner;
  }
  // Spread defines `__proto__` as a key like any other, which the schema then refuses.
  return { ...filled, ...without(own, filled) };
}

function without(value: object, known: object): object {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !Object.hasOwn(known, key)));
}

function byPlace(problems: readonly SidelockError[]): SidelockError[] {
  return problems.toSorted((a, b) => Number(a.data['line'] ?? 0) - Number(b.data['line'] ?? 0));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
