import type { core } from 'zod';

/** A schema as its users see it: which keys there are, what stands in for a missing one, what is text. */
export type Shape = ObjectShape | ListShape | ValueShape;

export interface ObjectShape {
  readonly is: 'object';
  readonly keys: ReadonlyMap<string, Shape>;
  /** For one of several forms told apart by a key: the keys of each form. `keys` is then all of them. */
  readonly forms: { readonly by: string; readonly options: ReadonlyMap<string, ObjectShape> } | undefined;
  /** Text may stand in its place. */
  readonly orText: boolean;
  readonly fallback: unknown;
}

interface ListShape {
  readonly is: 'list';
  readonly element: Shape;
  /** Words that may stand in place of the list, such as `any`. */
  readonly words: readonly string[];
  readonly fallback: unknown;
}

interface ValueShape {
  readonly is: 'value';
  readonly type: 'string' | 'number' | 'boolean';
  readonly fallback: unknown;
}

/** Walks the input side of a zod schema built of the types that the config schemas use. */
export function shapeOf(schema: core.$ZodType, fallback?: unknown): Shape {
  const { def } = (schema as core.$ZodTypes)._zod;
  switch (def.type) {
    case 'optional':
      return shapeOf(def.innerType, fallback);
    case 'prefault':
      return shapeOf(def.innerType, def.defaultValue);
    case 'pipe':
      return shapeOf(def.in, fallback);
    case 'object':
      return { is: 'object', keys: keysOf(def.shape), forms: undefined, orText: false, fallback };
    case 'array':
      return { is: 'list', element: shapeOf(def.element), words: [], fallback };
    case 'union':
      return unionShape(def, fallback);
    case 'number':
    case 'boolean':
      return { is: 'value', type: def.type, fallback };
    case 'literal':
      return { is: 'value', type: def.values.every((v) => typeof v === 'number') ? 'number' : 'string', fallback };
    default:
      return { is: 'value', type: 'string', fallback };
  }
}

function keysOf(shape: Readonly<Record<string, core.$ZodType>>): Map<string, Shape> {
  return new Map(Object.entries(shape).map(([key, schema]) => [key, shapeOf(schema)]));
}

function unionShape(def: core.$ZodUnionDef, fallback: unknown): Shape {
  const options = def.options.map((option) => shapeOf(option));
  const objects = options.filter((option) => option.is === 'object');
  if ('discriminator' in def && typeof def.discriminator === 'string') {
    const by = def.discriminator;
    const keys = new Map(objects.flatMap((option) => [...option.keys]));
    const named = def.options.flatMap((schema, i): Array<[string, ObjectShape]> => {
      const option = objects[i];
      return option === undefined ? [] : [[literalOf(schema, by), option]];
    });
    return { is: 'object', keys, forms: { by, options: new Map(named) }, orText: false, fallback };
  }
  const list = options.find((option) => option.is === 'list');
  if (list === undefined) {
    return objects[0] === undefined
      ? { is: 'value', type: 'string', fallback }
      : { ...objects[0], orText: true, fallback };
  }
  const words = def.options.flatMap((schema) => {
    const inner = (schema as core.$ZodTypes)._zod.def;
    return inner.type === 'literal' ? inner.values.map(String) : [];
  });
  return { ...list, words, fallback };
}

function literalOf(schema: core.$ZodType, key: string): string {
  const { def } = (schema as core.$ZodTypes)._zod;
  const field = def.type === 'object' ? def.shape[key] : undefined;
  const literal = field === undefined ? undefined : (field as core.$ZodTypes)._zod.def;
  return literal?.type === 'literal' ? String(literal.values[0]) : '';
}

/** The object that `value` is meant to be: of several forms the one it names, else all of them together. */
export function formOf(shape: ObjectShape, value: unknown): ObjectShape {
  if (shape.forms === undefined || typeof value !== 'object' || value === null) return shape;
  const name: unknown = Reflect.get(value, shape.forms.by);
  return (typeof name === 'string' ? shape.forms.options.get(name) : undefined) ?? shape;
}
