import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { contentChanges, tellChange } from './changes.ts';
import { writeFailure } from './failure.ts';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const MAX_READ = 1 << 20;
const TEMPORARY = /^\..+\.[0-9a-f]{16}\.tmp$/;

/**
 * Replaces `path` as a whole: readers, and a machine that loses power, see the old content or the new.
 * The mode is exact whatever the umask, and also when an older file had another. SL-FS-003 leaves the old file.
 */
export async function writeFileDurable(path: string, data: Buffer | string, mode: number): Promise<void> {
  await viaTemporary(path, data, mode, (temporary) => rename(temporary, path));
  tellChange({ kind: 'file', path, data: data.toString(), mode });
}

/**
 * Creates `path` with its whole content, or returns false when something of that name is there.
 * Of any number of callers, in any number of processes, exactly one gets true. SL-FS-003 when it cannot be written.
 */
export async function createExclusive(path: string, data: Buffer | string, mode: number): Promise<boolean> {
  const created = await viaTemporary(path, data, mode, async (temporary) => {
    try {
      // link(2) is as exclusive as O_EXCL, and a crash cannot leave a file that exists but is not yet written.
      await link(temporary, path);
      return true;
    } catch (error) {
      if (nodeCode(error) === 'EEXIST') return false;
      throw error;
    } finally {
      await unlink(temporary);
    }
  });
  if (created) tellChange({ kind: 'file', path, data: data.toString(), mode });
  return created;
}

/**
 * Appends to `path` (created with `mode`) and returns when it is on the disk. When not all of it can be
 * written (SL-FS-003) none of it stays. For one writer at a time.
 */
export async function appendDurable(path: string, data: Buffer | string, mode: number): Promise<void> {
  try {
    await using file = await open(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, mode);
    const { size } = await file.stat();
    try {
      await file.appendFile(data);
      await file.datasync();
      if (size === 0) await syncDirectory(dirname(path));
    } catch (error) {
      await file.truncate(size);
      throw error;
    }
    tellChange({ kind: 'append', path, at: size, data: data.toString(), mode });
  } catch (error) {
    throw await writeFailure(path, error);
  }
}

/** A file's content with what decides who else may read and write it. */
export interface StoredFile {
  readonly data: Buffer;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
}

/**
 * Reads a regular file that is not a link, of at most `maxBytes` (1 MiB); never waits on a FIFO. Throws system errors or
 * SL-FS-001.
 */
export async function readRegularFile(path: string, maxBytes: number = MAX_READ): Promise<StoredFile> {
  await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const stats = await file.stat();
  if (!stats.isFile() || stats.size > maxBytes) {
    const why = stats.isFile()
      ? `It has ${stats.size} bytes; at most ${maxBytes} are read.`
      : 'It is not a regular file.';
    throw new SidelockError('SL-FS-001', `cannot read ${path}`, { why, data: { path } });
  }
  return { data: await file.readFile(), mode: stats.mode & 0o777, uid: stats.uid };
}

/** Creates a file that must not exist yet, with exactly this mode, and returns when it is on the disk. */
export async function writeNewFile(path: string, data: Buffer | string, mode: number): Promise<void> {
  await using file = await open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode);
  await widenToMode(file, mode);
  await file.writeFile(data);
  await file.sync();
}

/** Lets a directory that was filled under another name appear with all its files. */
export async function placeDirectory(temporary: string, directory: string): Promise<void> {
  await syncDirectory(temporary);
  await rename(temporary, directory);
  await syncDirectory(dirname(directory));
  for (const name of await readdir(directory)) {
    const { data, mode } = await readRegularFile(join(directory, name));
    tellChange({ kind: 'file', path: join(directory, name), data: data.toString(), mode });
  }
}

/** Gives a file another name. */
export async function renameDurable(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncDirectory(dirname(to));
  tellChange({ kind: 'gone', path: from });
  for (const change of contentChanges(to, await readFile(to), 0o600)) tellChange(change);
}

/**
 * Takes away files, and directories with all that is in them, and returns when they stay away; nothing is no fault. Many
 * at once cost one sync for each directory they were in. SL-FS-003 at the first that stays; those before it stay away.
 */
export async function removeDurable(paths: string | readonly string[]): Promise<void> {
  const removed: string[] = [];
  const failures: unknown[] = [];
  const trying = async (path: string, work: () => Promise<void>) => {
    await removing(path, work).catch((error: unknown) => failures.push(error));
  };
  for (const path of [paths].flat()) {
    await trying(path, () => rm(path, { recursive: true, force: true }));
    if (failures.length > 0) break;
    removed.push(path);
  }
  // Also where nothing was: whoever removed it may not have come so far.
  const parents = new Map(removed.map((path) => [dirname(path), path]));
  for (const [directory, path] of parents) await trying(path, () => syncDirectory(directory));
  // Whatever failed: nobody finds them any more, and whoever keeps a copy must not either.
  for (const path of removed) tellChange({ kind: 'gone', path });
  if (failures.length > 0) throw failures[0];
}

async function removing(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw await writeFailure(path, error);
  }
}

/** Makes creations, renames and removals in `directory` survive a power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, O_RDONLY | O_DIRECTORY);
  await handle.sync();
}

/** Removes what writers that were killed left in `directory` and below. Only for the one process that may write there. */
export async function removeTemporaries(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    // One that wants the lock of this directory may be writing its claim just now.
    if (entry.name.startsWith('.lock.')) continue;
    if (entry.isFile() && TEMPORARY.test(entry.name)) await rm(join(entry.parentPath, entry.name), { force: true });
  }
}

async function viaTemporary<T>(
  path: string,
  data: Buffer | string,
  mode: number,
  place: (temporary: string) => Promise<T>,
): Promise<T> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`);
  try {
    await writeNewFile(temporary, data, mode);
    const placed = await place(temporary);
    await syncDirectory(dirname(path));
    return placed;
  } catch (error) {
    await rm(temporary, { force: true });
    throw await writeFailure(path, error);
  }
}

/** The umask may have taken rights away from a new, still empty file. It never adds any, so a key is never wider than its mode. */
async function widenToMode(file: FileHandle, mode: number): Promise<void> {
  const { mode: got } = await file.stat();
  if ((got & 0o777) !== mode) await file.chmod(mode);
}

/** What is in a directory, in no order; nothing when there is none. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Also false for what may not be looked at. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
