import type { WatchEvent } from './client.ts';
import { type Json, textOf } from './names.ts';

/** What became of one object: it came (nothing before), it went (nothing after), or it is another version. */
export interface Change {
  /** `namespace/name`. */
  readonly key: string;
  readonly before?: Json;
  readonly after?: Json;
}

/** What an event says that was not known. An event may be told twice. */
export function changeBy({ type, object }: WatchEvent, known: ReadonlyMap<string, Json>): Change[] {
  if (type === 'BOOKMARK') return [];
  return difference(keyOf(object), known.get(keyOf(object)), type === 'DELETED' ? undefined : object);
}

/** What a list says that was not known: with what has gone, of which nobody else may ever have told. */
export function changesTo(items: readonly Json[], known: ReadonlyMap<string, Json>): Change[] {
  const listed = new Map(items.map((item) => [keyOf(item), item]));
  const gone = [...known.keys()].filter((key) => !listed.has(key));
  return [
    ...gone.flatMap((key) => difference(key, known.get(key), undefined)),
    ...[...listed].flatMap(([key, item]) => difference(key, known.get(key), item)),
  ];
}

function difference(key: string, before: Json | undefined, after: Json | undefined): Change[] {
  if (before === undefined) return after === undefined ? [] : [{ key, after }];
  if (after === undefined) return [{ key, before }];
  // One that went and came again is not one that changed.
  if (fieldOf(before, 'uid') !== fieldOf(after, 'uid')) {
    return [
      { key, before },
      { key, after },
    ];
  }
  return fieldOf(before, 'resourceVersion') === fieldOf(after, 'resourceVersion') ? [] : [{ key, before, after }];
}

function keyOf(object: Json): string {
  return `${fieldOf(object, 'namespace')}/${fieldOf(object, 'name')}`;
}

function fieldOf({ metadata }: Json, field: string): string {
  return textOf(metadata, field);
}
