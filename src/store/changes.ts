import { readdir } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { CRL_FILE } from './layout.ts';

/** Something durable that happened below a directory; paths are relative to it, content is text. */
export type Change =
  | { readonly kind: 'file'; readonly path: string; readonly data: string; readonly mode: number }
  /** `at`: size of the file before. */
  | {
      readonly kind: 'append';
      readonly path: string;
      readonly at: number;
      readonly data: string;
      readonly mode: number;
    }
  /** The files of a directory, replaced together. */
  | { readonly kind: 'set'; readonly path: string; readonly files: Readonly<Record<string, ChangedFile>> }
  /** And everything below. */
  | { readonly kind: 'gone'; readonly path: string };

interface ChangedFile {
  readonly data: string;
  readonly mode: number;
}

const APPEND_BYTES = 256 * 1024;

const observers = new Map<string, (change: Change) => void>();

/**
 * Tells of every durable write below `directory`, in their order, each after it is on the disk and before its writer goes
 * on. One observer a directory. What belongs to this machine alone (locks, sockets, temporaries) is not told.
 */
export function observeChanges(directory: string, told: (change: Change) => void): Disposable {
  const root = resolve(directory);
  observers.set(root, told);
  return {
    [Symbol.dispose]() {
      observers.delete(root);
    },
  };
}

/** For the writers of this layer: `change` with its path as they know it. */
export function tellChange(change: Change): void {
  if (observers.size === 0) return;
  const path = resolve(change.path);
  for (const [root, told] of observers) {
    if (!path.startsWith(root + sep)) continue;
    const inside = relative(root, path);
    if (!isLocal(inside)) told({ ...change, path: inside });
  }
}

/** Whether it says something of this machine alone, or is made anew at each start. */
export function isLocal(path: string): boolean {
  return path === CRL_FILE || /(?:^|\/)(?:lock\.[^/]+|[^/]+\.sock|\.[^/]+\.tmp)$/.test(path);
}

/** Those of the changes that still count, in their order: the newest of each path. */
export function stillCounting(changes: readonly Change[]): Change[] {
  const kept = new Map<string, Change>();
  const below = new Map<string, Set<string>>();
  const keep = (key: string, change: Change) => {
    kept.delete(key);
    kept.set(key, change);
    for (const path of [change.path, ...parents(change.path)]) {
      const keys = below.get(path) ?? new Set();
      below.set(path, keys.add(key));
    }
  };
  for (const change of changes) {
    if (change.kind === 'append') {
      keep(`${change.path}@${change.at}`, change);
      continue;
    }
    for (const key of below.get(change.path) ?? []) kept.delete(key);
    below.delete(change.path);
    keep(change.path, change);
  }
  return [...kept.values()];
}

/** Regular files below `directory`, relative to it; links are not followed. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

/** A whole file: in pieces where it is long, cut at the ends of lines, so that no character is. */
export function contentChanges(path: string, data: Buffer, mode: number): Change[] {
  if (data.length <= APPEND_BYTES) return [{ kind: 'file', path, data: data.toString(), mode }];
  const found: Change[] = [];
  for (let at = 0; at < data.length; ) {
    const end = at + APPEND_BYTES >= data.length ? data.length : data.lastIndexOf(10, at + APPEND_BYTES) + 1;
    const next = end > at ? end : data.length;
    found.push({ kind: 'append', path, at, data: data.subarray(at, next).toString(), mode });
    at = next;
  }
  return found;
}

/** The directories above a path, outermost first. */
export function parents(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'));
}
