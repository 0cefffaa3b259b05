/** Where a key stands: names of keys and indexes of lists. */
export type Path = readonly (string | number)[];

export type Origin =
  | { readonly from: 'file'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly from: 'env'; readonly name: string }
  | { readonly from: 'flag'; readonly name: string }
  | { readonly from: 'default' };

/** One value that a layer above the file gives: the environment or the command line. */
export interface Setting {
  readonly path: Path;
  readonly value: unknown;
  readonly origin: Origin;
}

/** `inbound[0].allow` */
export function formatPath(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  );
}

/** `config.yaml:12:5`, `MTLS_CA_NAME`, `--storage`, `default` */
export function formatOrigin(origin: Origin): string {
  switch (origin.from) {
    case 'file':
      return `${origin.file}:${origin.line}:${origin.column}`;
    case 'env':
      return `env ${origin.name}`;
    case 'flag':
      return origin.name;
    case 'default':
      return 'default';
  }
}

export function valueAt(tree: unknown, path: Path): unknown {
  let value = tree;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}

/** A copy of `tree` with `value` at `path`; what is in the way and is no container is replaced. */
export function withValue(tree: unknown, path: Path, value: unknown): unknown {
  const [part, ...rest] = path;
  if (part === undefined) return value;
  if (typeof part === 'number') {
    const list: unknown[] = Array.isArray(tree) ? [...tree] : [];
    list[part] = withValue(list[part], rest, value);
    return list;
  }
  const keep = typeof tree === 'object' && tree !== null && !Array.isArray(tree) ? tree : {};
  const inner = Object.hasOwn(keep, part) ? Reflect.get(keep, part) : undefined;
  return { ...keep, [part]: withValue(inner, rest, value) };
}

/** A copy of `tree` without what is at `path`. */
export function withoutValue(tree: unknown, path: Path): unknown {
  const [part, ...rest] = path;
  if (typeof part !== 'string' || typeof tree !== 'object' || tree === null || !Object.hasOwn(tree, part)) return tree;
  const { [part]: inner, ...others } = tree as Readonly<Record<string, unknown>>;
  return rest.length === 0 ? others : { ...others, [part]: withoutValue(inner, rest) };
}
