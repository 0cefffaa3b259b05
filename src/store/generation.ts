import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, realpath, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { tellChange } from './changes.ts';
import { readFailure, writeFailure } from './failure.ts';
import { readRegularFile, type StoredFile, syncDirectory, writeNewFile } from './files.ts';
import { DATA_LINK, DIRECTORY_MODE } from './layout.ts';
import { takeSnapshot } from './snapshot.ts';

export interface NewFile {
  readonly data: Buffer | string;
  readonly mode: number;
}

const READ_ATTEMPTS = 100;
const NEXT_LINK = '..data_tmp';
const GENERATION = /^\.\.\d{4}(?:_\d\d){5}\.[0-9a-f]{16}$/;

/**
 * Makes `files` the content of `directory`, all at the same moment: they are written to a new generation
 * directory, and one rename of the `..data` link switches every visible file (kubelet's atomic writer).
 *
 * A crash at any point leaves the old set or the new one; what it leaves besides is removed by the next write.
 * SL-FS-003 leaves the old set and nothing else. The new generation holds exactly `files`. Plain files of the
 * same names are taken into the scheme first. For one writer at a time in a directory; readers need no lock.
 */
export async function writeGeneration(directory: string, files: Readonly<Record<string, NewFile>>): Promise<void> {
  try {
    await makeDirectory(directory);
    await removeLeftovers(directory);
    await adoptPlainFiles(directory, files);
    await publish(directory, files);
  } catch (error) {
    throw await writeFailure(directory, error);
  }
  const told = Object.entries(files).map(([name, { data, mode }]) => [name, { data: data.toString(), mode }] as const);
  tellChange({ kind: 'set', path: directory, files: Object.fromEntries(told) });
  // The new set is in use: an old one that cannot be removed now is left to the next write.
  await removeLeftovers(directory).catch(() => undefined);
}

interface ReadOptions {
  /** Refuse files that links lead to outside of the directory (SL-STORE-003). */
  readonly confined?: boolean;
  /** Of each file; 1 MiB unless given. */
  readonly maxBytes?: number | undefined;
}

/**
 * Reads `names` as they were together at one moment: of one generation, and with nothing written in between.
 * Works on any directory: ours, a volume of kubelet's, plain files. A name that does not exist, or whose link
 * leads nowhere, is missing from the result. SL-FS-001 when a file cannot be read or is not a regular file.
 */
export async function readGeneration(
  directory: string,
  names: readonly string[],
  options: ReadOptions = {},
): Promise<Map<string, StoredFile>> {
  let before = await takeSnapshot(directory, names);
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
    const files = await readEach(directory, names, options);
    const after = await takeSnapshot(directory, names);
    if (after.id === before.id) {
      if (files instanceof SidelockError) throw files;
      return files;
    }
    before = after;
  }
  throw new SidelockError('SL-FS-001', `cannot read ${directory}: its files never stood still`, {
    why: `They changed during each of ${READ_ATTEMPTS} attempts to read them together.`,
    fix: 'Find the program that keeps writing them.',
    data: { path: directory },
  });
}

/**
 * Side by side, as each is a handful of waits for the thread pool. A failure is returned, not thrown: it counts only when
 * the files did not move meanwhile.
 */
async function readEach(
  directory: string,
  names: readonly string[],
  { confined = false, maxBytes }: ReadOptions,
): Promise<Map<string, StoredFile> | SidelockError> {
  const home = confined && names.length > 0 ? realpath(directory) : undefined;
  const found = await Promise.all(names.map((name) => readOne(join(directory, name), home, maxBytes)));
  const files = new Map<string, StoredFile>();
  for (const [i, name] of names.entries()) {
    const file = found[i];
    if (file instanceof SidelockError) return file;
    if (file !== undefined) files.set(name, file);
  }
  return files;
}

/** @param home real path of the directory that must hold the file; any may when undefined */
async function readOne(
  path: string,
  home: Promise<string> | undefined,
  maxBytes: number | undefined,
): Promise<StoredFile | SidelockError | undefined> {
  try {
    const [real, directory] = await Promise.all([realpath(path), home]);
    if (directory !== undefined && !real.startsWith(`${directory}${sep}`)) return leadsOutside(path, real);
    return await readRegularFile(real, maxBytes);
  } catch (error) {
    return nodeCode(error) === 'ENOENT' ? undefined : await readFailure(path, error);
  }
}

function leadsOutside(path: string, real: string): SidelockError {
  return new SidelockError('SL-STORE-003', `${path} leads outside of its directory`, {
    why: `It is a link to ${real}. Whoever made it decides what this store serves.`,
    fix: `Remove the link, or restore the file: rm ${path}`,
    data: { path, real },
  });
}

async function makeDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  if (first !== undefined) await syncDirectory(dirname(first));
}

/** Everything but the generation in use: earlier ones, and what a killed or failed writer left. */
async function removeLeftovers(directory: string): Promise<void> {
  const current = await linkTarget(join(directory, DATA_LINK));
  for (const name of await readdir(directory)) {
    const leftover = name.startsWith(NEXT_LINK) || (GENERATION.test(name) && name !== current);
    if (leftover) await rm(join(directory, name), { recursive: true, force: true });
  }
}

/**
 * Visible files that are not links into `..data` (plain files, or ones that were renamed over a link) cannot be
 * switched together. So a generation with their present content comes first: then replacing each by its link
 * changes nothing that a reader can see.
 */
async function adoptPlainFiles(directory: string, files: Readonly<Record<string, NewFile>>): Promise<void> {
  const plain: string[] = [];
  for (const name of Object.keys(files)) {
    const target = await linkTarget(join(directory, name));
    if (target !== throughData(name) && (await exists(join(directory, name)))) plain.push(name);
  }
  if (plain.length === 0) return;

  const present: Record<string, NewFile> = {};
  for (const [name, { data }] of await readGeneration(directory, Object.keys(files))) {
    const asked = files[name];
    if (asked !== undefined) present[name] = { data, mode: asked.mode };
  }
  await publish(directory, present);
  for (const name of plain) await replaceByLink(directory, name);
}

async function publish(directory: string, files: Readonly<Record<string, NewFile>>): Promise<void> {
  const generation = generationName();
  try {
    await mkdir(join(directory, generation), { mode: DIRECTORY_MODE });
    for (const [name, { data, mode }] of Object.entries(files)) {
      await writeNewFile(join(directory, generation, name), data, mode);
    }
    await syncDirectory(join(directory, generation));
    // The first time, links come before what they lead to: then the whole set appears with the rename.
    for (const name of Object.keys(files)) await linkOnce(directory, name);
    await symlink(generation, join(directory, NEXT_LINK));
    // What the rename relies on must be on the disk before it.
    await syncDirectory(directory);
    await rename(join(directory, NEXT_LINK), join(directory, DATA_LINK));
  } catch (error) {
    await rm(join(directory, NEXT_LINK), { force: true });
    await rm(join(directory, generation), { recursive: true, force: true });
    throw error;
  }
  await syncDirectory(directory);
}

async function linkOnce(directory: string, name: string): Promise<void> {
  try {
    await symlink(throughData(name), join(directory, name));
  } catch (error) {
    if (nodeCode(error) !== 'EEXIST') throw error;
  }
}

async function replaceByLink(directory: string, name: string): Promise<void> {
  const next = join(directory, `${NEXT_LINK}.${name}`);
  await symlink(throughData(name), next);
  await rename(next, join(directory, name));
}

function throughData(name: string): string {
  return `${DATA_LINK}/${name}`;
}

/** The time is for people who look at the directory; the random part makes the name unique. */
function generationName(): string {
  const time = new Date(systemClock.now()).toISOString().slice(0, 19).replace(/[-T:]/g, '_');
  return `..${time}.${randomBytes(8).toString('hex')}`;
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false;
  }
}
