import { readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCode } from '../base/errors.ts';
import { DATA_LINK } from './layout.ts';

/** What the files of a directory looked like at one moment, without their content. */
export interface Snapshot {
  /** Equal for two moments exactly when no file was swapped, replaced, written or had its mode changed between them. */
  readonly id: string;
  /** When the newest of the files last changed, ms by the file system's clock. */
  readonly changedAt: number;
}

/**
 * Looks at `names` in `directory` through all links. The change time is part of the identity, because size and
 * modification time can be the same after an overwrite (`cp -p`, `touch -r`), and the link's target, because inode
 * numbers are used again.
 */
export async function takeSnapshot(directory: string, names: readonly string[]): Promise<Snapshot> {
  const [target, ...files] = await Promise.all([
    readlink(join(directory, DATA_LINK)).catch(() => ''),
    ...names.map((name) => identify(join(directory, name))),
  ]);
  return {
    id: [target, ...files.map((file) => file.id)].join('\n'),
    changedAt: Math.max(0, ...files.map((file) => file.changedAt)),
  };
}

async function identify(path: string): Promise<Snapshot> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return { id: [dev, ino, size, mtimeNs, ctimeNs].join(':'), changedAt: Number(ctimeNs / 1_000_000n) };
  } catch (error) {
    return { id: nodeCode(error) ?? 'unknown', changedAt: 0 };
  }
}
