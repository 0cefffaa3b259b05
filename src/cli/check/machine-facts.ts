import { readFile, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { nodeCode } from '../../base/errors.ts';
import { STATE_DIR } from '../../store/layout.ts';
import type { MachineFacts } from './machine.ts';

/** Looks at this machine, as far as `storage` lies on it. */
export async function machineFacts(storage: string, now: number): Promise<MachineFacts> {
  const [path, openFiles, watches, instances, youngest] = await Promise.all([
    nearest(resolve(storage)),
    limitOfFiles(),
    numberIn('/proc/sys/fs/inotify/max_user_watches'),
    numberIn('/proc/sys/fs/inotify/max_user_instances'),
    youngestOf(join(storage, STATE_DIR)),
  ]);
  const { bavail, bsize, ffree } = await statfs(path);
  return {
    node: process.versions.node,
    disk: { path, bytes: bavail * bsize, files: ffree },
    openFiles,
    inotify: { watches, instances },
    youngest,
    now,
  };
}

async function nearest(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    if (at === dirname(at) || (await timeOf(at)) !== undefined) return at;
  }
}

/** Node raises its soft limit to the hard one when it starts, so the limit in force is that which a manager gets. */
async function limitOfFiles(): Promise<number | undefined> {
  const found = /^Max open files +(\S+)/m.exec((await textOf('/proc/self/limits')) ?? '')?.[1];
  return found === undefined ? undefined : found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found);
}

async function numberIn(path: string): Promise<number | undefined> {
  const text = await textOf(path);
  return text === undefined ? undefined : Number(text);
}

/** Of what every change writes to. */
async function youngestOf(state: string): Promise<MachineFacts['youngest']> {
  const paths = ['audit.log', 'trust.json', 'revocations.json', 'inventory'].map((name) => join(state, name));
  const found = await Promise.all(paths.map(async (path) => ({ path, at: (await timeOf(path)) ?? 0 })));
  const youngest = found.reduce((a, b) => (b.at > a.at ? b : a));
  return youngest.at === 0 ? undefined : youngest;
}

async function timeOf(path: string): Promise<number | undefined> {
  return await unlessAbsent(async () => (await stat(path)).mtimeMs);
}

async function textOf(path: string): Promise<string | undefined> {
  return await unlessAbsent(() => readFile(path, 'utf8'));
}

async function unlessAbsent<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (nodeCode(error) === undefined) throw error;
    return undefined;
  }
}
