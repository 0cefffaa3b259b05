import { SidelockError } from '../base/errors.ts';
import type { MANAGER_ALIASES } from './aliases.ts';
import { givenTwice } from './aliases.ts';
import { nearest } from './nearest.ts';
import { formatPath, type Path, type Setting } from './setting.ts';
import type { Shape } from './shape.ts';

const PREFIX = 'MTLS_';

/** The one name of the guide that is neither the path of a key nor of an alias. */
const GUIDE_NAMES: ReadonlyMap<string, string> = new Map([
  ['MTLS_ROTATION_THRESHOLD_DAYS', 'MTLS_CERTIFICATES_ROTATION_THRESHOLD_DAYS'],
]);

export type Environment = Readonly<Record<string, string | undefined>>;

interface FromEnvironment {
  readonly settings: readonly Setting[];
  readonly problems: readonly SidelockError[];
}

/**
 * Reads every `MTLS_` variable that names a key: the path in upper snake case, list items by index. Lists of text
 * may be comma separated, any list may be JSON. A name that is nearly one of ours is an error; any other
 * is left alone, since the prefix is also that of variables which Kubernetes makes for a service called mtls.
 */
export function fromEnvironment(shape: Shape, aliases: typeof MANAGER_ALIASES, env: Environment): FromEnvironment {
  const aliasNames = new Map(aliases.flatMap((a) => a.paths.map((path) => [variableName(path), a] as const)));
  const settings: Setting[] = [];
  const problems: SidelockError[] = [];
  for (const [name, text] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (text === undefined || !name.startsWith(PREFIX)) continue;
    const origin = { from: 'env', name } as const;
    const alias = aliasNames.get(GUIDE_NAMES.get(name) ?? name);
    const found = alias === undefined ? match(shape, name.slice(PREFIX.length)) : undefined;
    if (alias !== undefined) settings.push({ path: alias.key, value: alias.convert(numberOr(text)), origin });
    else if (found !== undefined) {
      try {
        settings.push({ path: found.path, value: read(found.shape, text), origin });
      } catch (cause) {
        problems.push(new SidelockError('SL-CFG-003', `env ${name}: not valid JSON`, { cause }));
      }
    } else problems.push(...misspelt(name, [...names(shape, []), ...aliasNames.keys(), ...GUIDE_NAMES.keys()]));
  }
  return { settings, problems: [...problems, ...doubled(settings)] };
}

/** `MTLS_CERTIFICATES_KEY_TYPE` for certificates.keyType. @internal */
export function variableName(path: Path): string {
  return PREFIX + path.map(upperSnake).join('_');
}

function upperSnake(part: string | number): string {
  return String(part)
    .replace(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase();
}

function match(shape: Shape, rest: string): { path: Path; shape: Shape } | undefined {
  // An object has no variable of its own: MTLS_CA may well be the path of a file for the app.
  if (rest === '') return shape.is === 'object' && !shape.orText ? undefined : { path: [], shape };
  if (shape.is === 'list') {
    const [, index, more = ''] = /^(\d{1,3})(?:_(.+))?$/.exec(rest) ?? [];
    const inner = index === undefined ? undefined : match(shape.element, more);
    return inner && { path: [Number(index), ...inner.path], shape: inner.shape };
  }
  if (shape.is === 'value') return undefined;
  for (const [key, child] of shape.keys) {
    const name = upperSnake(key);
    if (rest !== name && !rest.startsWith(`${name}_`)) continue;
    const inner = match(child, rest.slice(name.length + 1));
    if (inner !== undefined) return { path: [key, ...inner.path], shape: inner.shape };
  }
  return undefined;
}

function read(shape: Shape, text: string): unknown {
  if (shape.is === 'object') return text;
  if (shape.is === 'list') {
    if (shape.words.includes(text)) return text;
    if (/^\s*\[/.test(text)) return JSON.parse(text);
    return text === '' ? [] : text.split(',').map((item) => read(shape.element, item.trim()));
  }
  if (shape.type === 'number') return numberOr(text);
  if (shape.type === 'boolean' && /^(?:true|false)$/.test(text)) return text === 'true';
  return text;
}

/** Digits as a number, for variables and flags. */
export function numberOr(text: string): number | string {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}

/** Every variable name the shape has, items of lists by their index as far as `misspelt` needs them. */
function names(shape: Shape, path: Path): string[] {
  if (shape.is === 'object') {
    const inner = [...shape.keys].flatMap(([key, child]) => names(child, [...path, key]));
    return shape.orText ? [variableName(path), ...inner] : inner;
  }
  if (shape.is === 'list') return [variableName(path), ...names(shape.element, [...path, 0])];
  return [variableName(path)];
}

function misspelt(name: string, known: readonly string[]): SidelockError[] {
  const index = /_\d{1,3}(?=_|$)/;
  const near = nearest(name.replace(index, '_0'), known);
  if (near === undefined || (Math.abs(near.length - name.length) > 2 && near !== `${name}_FILE`)) return [];
  const suggestion = near.replace('_0', index.exec(name)?.[0] ?? '_0');
  return [
    new SidelockError('SL-CFG-004', `env ${name}: no such key`, { fix: `did you mean ${suggestion}? Or unset it.` }),
  ];
}

function doubled(settings: readonly Setting[]): SidelockError[] {
  return settings.flatMap(({ path, origin }, i) => {
    const first = settings.slice(0, i).find((other) => formatPath(other.path) === formatPath(path));
    if (first?.origin.from !== 'env' || origin.from !== 'env') return [];
    return [givenTwice({ text: 'env', line: 0 }, first.origin.name, origin.name)];
  });
}
