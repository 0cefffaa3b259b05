import * as z from 'zod';
import { KIND_NAMES, KINDS, type Kind } from './kinds.ts';
import type { Path } from './setting.ts';

interface JsonObject {
  [key: string]: unknown;
}

/** The JSON Schema (2020-12) of one kind, or of a file of any kind, for editors. The guide's spellings are in it too. */
export function jsonSchema(kind?: Kind): JsonObject {
  if (kind !== undefined) return schemaOf(kind);
  const { $schema } = schemaOf('Manager');
  const oneOf = KIND_NAMES.map((name) => {
    const { $schema: _, ...schema } = schemaOf(name);
    return { ...schema, required: ['kind', ...(Array.isArray(schema['required']) ? schema['required'] : [])] };
  });
  return { $schema, title: 'sidelock/v1', oneOf };
}

function schemaOf(kind: Kind): JsonObject {
  const { schema, aliases } = KINDS[kind];
  const json: JsonObject = { title: kind, ...z.toJSONSchema(schema, { io: 'input' }) };
  for (const { paths, key } of aliases) {
    for (const path of paths) addAlias(json, path, key);
  }
  return json;
}

function addAlias(json: JsonObject, path: Path, key: Path): void {
  const [block, name] = path;
  const properties = objectAt(objectAt(objectAt(json, 'properties'), String(block)), 'properties');
  properties[String(name)] = { type: 'integer', minimum: 1, description: `the guide's spelling of ${key.join('.')}` };
}

function objectAt(json: JsonObject, key: string): JsonObject {
  const inner = json[key];
  if (typeof inner !== 'object' || inner === null) throw new TypeError(`the JSON Schema has no ${key}`);
  return inner as JsonObject;
}
