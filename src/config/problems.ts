import type { core } from 'zod';
import { SidelockError } from '../base/errors.ts';
import { nearest } from './nearest.ts';
import { formatPath, type Path, valueAt } from './setting.ts';
import { formOf, type Shape } from './shape.ts';

interface Context {
  readonly shape: Shape;
  readonly tree: unknown;
  readonly where: (path: Path) => Place;
}

export interface Place {
  /** `config.yaml:12:5`, `env MTLS_CA_NAME` or `--storage` */
  readonly text: string;
  /** 0 outside the file. */
  readonly line: number;
}

/** Our words for what a schema says in its own; a message given in the schema comes before these. */
export const issueText: core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${TYPE_NAMES[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `expected ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `expected at least ${issue.minimum}${issue.origin === 'string' ? ' characters' : ''}`;
    case 'too_big':
      return `expected at most ${issue.maximum}${issue.origin === 'string' ? ' characters' : ''}`;
    default:
      return undefined;
  }
};

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a block of keys',
};

/** One error for each thing wrong, a misspelt key each its own. */
export function problemsOf(issue: core.$ZodIssue, context: Context, base: Path = []): SidelockError[] {
  const path: Path = [...base, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...path, key], context));
  if (issue.code === 'invalid_union') {
    const inner = intended(issue.errors);
    if (inner.length > 0) return inner.flatMap((branch) => problemsOf(branch, context, path));
  }
  return [invalidValue(path, issue, context)];
}

/** Of the forms a value may have, the one that fits on the outside and fails further in. */
function intended(branches: ReadonlyArray<readonly core.$ZodIssue[]>): readonly core.$ZodIssue[] {
  const outside = (issue: core.$ZodIssue) =>
    issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
  return branches.find((branch) => !branch.some(outside)) ?? [];
}

function invalidValue(path: Path, issue: core.$ZodIssue, { tree, where }: Context): SidelockError {
  const value = valueAt(tree, path);
  const what = value === undefined ? 'is missing' : issue.message;
  const place = where(path);
  const at = `${place.text} ${formatPath(path)}: `;
  const data = { path: formatPath(path), line: place.line };
  if (path.at(-1) === 'allow' && (value === undefined || value === null || isEmptyList(value))) {
    return new SidelockError('SL-CFG-005', `${at}${what}`, { why: 'nothing is allowed by accident', data });
  }
  const choices = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  const near = typeof value === 'string' ? nearest(value, choices) : undefined;
  return new SidelockError('SL-CFG-003', `${at}${what}`, {
    why: value === undefined ? issue.message : `found ${show(value)}`,
    fix: near === undefined ? undefined : `did you mean ${near}?`,
    data,
  });
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function unknownKey(path: Path, { shape, tree, where }: Context): SidelockError {
  const key = String(path.at(-1));
  const keys = [...keysAt(shape, tree, path.slice(0, -1))].sort();
  const near = nearest(key, keys);
  const list = `keys here: ${keys.join(', ')}`;
  const place = where(path);
  return new SidelockError('SL-CFG-004', `${place.text} ${formatPath(path)}: unknown key`, {
    fix: near === undefined ? list : `did you mean "${near}"?  ${list}`,
    data: { path: formatPath(path), line: place.line, nearest: near },
  });
}

function keysAt(shape: Shape, tree: unknown, path: Path): Iterable<string> {
  let here: Shape | undefined = shape;
  path.forEach((part, i) => {
    if (here?.is === 'object') here = formOf(here, valueAt(tree, path.slice(0, i))).keys.get(String(part));
    else if (here?.is === 'list') here = here.element;
  });
  return here?.is === 'object' ? formOf(here, valueAt(tree, path)).keys.keys() : [];
}
