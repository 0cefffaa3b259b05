import { jsonSchema } from '../../../src/config/json-schema.ts';
import type { Kind } from '../../../src/config/kinds.ts';
import { table } from './table.ts';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

/** Every key of a kind: its path, what it takes, what stands in for it, what it means. */
export function configKeys(kind: Kind): string {
  const rows = [...keys(jsonSchema(kind) as Schema, '')].map(([path, schema]) => [
    `\`${path}\``,
    [...new Set(takes(schema))].join(', '),
    fallback(schema),
    schema.description ?? '',
  ]);
  return table(['key', 'takes', 'default', 'meaning'], rows);
}

function* keys(schema: Schema, path: string): Generator<readonly [path: string, schema: Schema]> {
  for (const form of [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) {
    const source = form.properties?.['source']?.const;
    yield* keys(form, source === undefined ? path : `${path}(${String(source)})`);
  }
  if (schema.items !== undefined) yield* keys(schema.items, `${path}[]`);
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const own = path === '' ? name : `${path}.${name}`;
    if (isLeaf(inner)) yield [own, inner];
    yield* keys(inner, own);
  }
}

/** Blocks have rows for what is in them, and one of their own where something else may stand in their place. */
function isLeaf(schema: Schema): boolean {
  return takes(schema).length > 0 || schema.description !== undefined;
}

function takes(schema: Schema): string[] {
  if (schema.const !== undefined) return [`\`${String(schema.const)}\``];
  if (schema.enum !== undefined) return schema.enum.map((one) => `\`${String(one)}\``);
  const forms = schema.anyOf ?? schema.oneOf;
  if (forms !== undefined) return forms.flatMap(takes);
  if (schema.type === 'array') {
    const inner = schema.items === undefined ? [] : takes(schema.items);
    return inner.length === 0 ? [] : [`list of ${[...new Set(inner)].join(', ')}`];
  }
  if (schema.type === undefined || schema.type === 'object') return [];
  return [schema.type === 'string' ? 'text' : schema.type];
}

function fallback(schema: Schema): string {
  const value = schema.default;
  if (value === undefined || (typeof value === 'object' && JSON.stringify(value) === '{}')) return '';
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}
