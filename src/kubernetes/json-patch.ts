import { isDeepStrictEqual } from 'node:util';
import { isObject, type Json } from './names.ts';

/** RFC 6902. */
type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** What turns `before` into `after`. Lists are added to, never replaced, so that the patches of others still fit. */
export function jsonPatch(before: Json, after: Json): PatchOperation[] {
  return ofMaps('', before, after);
}

function between(path: string, before: unknown, after: unknown): PatchOperation[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (isObject(before) && isObject(after)) return ofMaps(path, before, after);
  if (Array.isArray(before) && Array.isArray(after)) return ofLists(path, before, after);
  return [{ op: 'replace', path, value: after }];
}

function ofMaps(path: string, before: Json, after: Json): PatchOperation[] {
  const at = (key: string) => `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  return [
    ...Object.keys(before).flatMap((key): PatchOperation[] => (key in after ? [] : [{ op: 'remove', path: at(key) }])),
    ...Object.entries(after).flatMap(([key, value]): PatchOperation[] =>
      key in before ? between(at(key), before[key], value) : [{ op: 'add', path: at(key), value }],
    ),
  ];
}

function ofLists(path: string, before: readonly unknown[], after: readonly unknown[]): PatchOperation[] {
  if (before.length === after.length) {
    return after.flatMap((value, at) => between(`${path}/${at}`, before[at], value));
  }
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && isDeepStrictEqual(before[head], after[head])) head++;
  let tail = 0;
  while (tail < most - head && isDeepStrictEqual(before.at(-1 - tail), after.at(-1 - tail))) tail++;
  const gone = before.slice(head, before.length - tail);
  const come = after.slice(head, after.length - tail);
  return [
    ...gone.map((): PatchOperation => ({ op: 'remove', path: `${path}/${head}` })),
    ...come.map((value, at): PatchOperation => ({ op: 'add', path: `${path}/${head + at}`, value })),
  ];
}
