import t from 'tap';
import type { core } from 'zod';
import { jsonSchema } from '../../../src/config/json-schema.ts';
import { KIND_NAMES, KINDS } from '../../../src/config/kinds.ts';

/** Paths of objects in a JSON Schema that let unknown keys pass. */
function* open(json: unknown, path: string): Generator<string> {
  if (typeof json !== 'object' || json === null) return;
  if (Reflect.get(json, 'type') === 'object' && Reflect.get(json, 'additionalProperties') !== false) yield path;
  for (const [key, inner] of Object.entries(json)) yield* open(inner, `${path}/${key}`);
}

t.test('no object of any kind lets an unknown key pass', async (t) => {
  t.strictSame([...open(jsonSchema(), '')], []);
  t.strictSame([...open({ type: 'object', properties: {} }, '#')], ['#'], 'the walk itself finds one');
});

t.test('JSON Schema of each kind has its defaults and the spellings of the guide', async (t) => {
  const manager = jsonSchema('Manager');
  t.match(manager, {
    title: 'Manager',
    additionalProperties: false,
    properties: {
      ca: { properties: { keySize: { default: 4096 }, key_size: { type: 'integer' } } },
      certificates: { properties: { validity: { default: '90d' }, validity_days: {}, validityDays: {} } },
    },
  });
  t.match(jsonSchema('Sidecar'), { properties: { inbound: { items: { required: ['listen', 'target', 'allow'] } } } });
  t.match(jsonSchema(), { oneOf: [{ title: 'Manager', required: ['kind'] }, { title: 'Sidecar' }, { title: 'Demo' }] });
});

t.test('the shape of every kind knows every schema type in use', async (t) => {
  const known = [
    'object',
    'array',
    'string',
    'number',
    'boolean',
    'enum',
    'literal',
    'union',
    'optional',
    'prefault',
    'pipe',
    'transform',
  ];
  const seen = new Set<string>();
  const walk = (schema: core.$ZodType): void => {
    const { def } = (schema as core.$ZodTypes)._zod;
    seen.add(def.type);
    if (def.type === 'object') Object.values(def.shape).forEach(walk);
    if (def.type === 'array') walk(def.element);
    if (def.type === 'union') def.options.forEach(walk);
    if (def.type === 'optional' || def.type === 'prefault') walk(def.innerType);
    if (def.type === 'pipe') walk(def.in);
  };
  for (const kind of KIND_NAMES) walk(KINDS[kind].schema);
  t.strictSame(
    [...seen].filter((type) => !known.includes(type)),
    [],
  );
});
