import { access, constants, readdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { nodeCode } from '../../base/errors.ts';
import { KEY_FILE, STATE_DIR } from '../../store/layout.ts';
import type { FileFacts, StorageFacts } from './storage.ts';

/** Looks at who may read and write a storage; before a manager opens it, which corrects modes. Reads no key. */
export async function storageFacts(path: string): Promise<StorageFacts> {
  const state = join(path, STATE_DIR);
  const directory = await facts(state);
  const parent = await nearest(resolve(path));
  const keys = directory === undefined ? [] : await keyFiles(path, state);
  return {
    path,
    directory,
    parent,
    keys: (await Promise.all(keys.map(facts))).filter((file) => file !== undefined),
    socket: await facts(join(state, 'manager.sock')),
    uid: process.geteuid?.() ?? 0,
  };
}

async function keyFiles(path: string, state: string): Promise<string[]> {
  const services = (await names(path)).filter((name) => !name.startsWith('.'));
  const authorities = (await names(state)).filter((name) => /^(?:ca|devices)(?:-\d+)?$/.test(name));
  const keys = await Promise.all(
    authorities.map(async (name) =>
      (await names(join(state, name))).filter((file) => file.endsWith('.key')).map((file) => join(state, name, file)),
    ),
  );
  return [...keys.flat(), ...services.map((service) => join(path, service, KEY_FILE))];
}

async function nearest(path: string): Promise<StorageFacts['parent']> {
  for (let at = path; ; at = dirname(at)) {
    const found = await facts(at);
    if (found === undefined && at !== dirname(at)) continue;
    const { mode = 0, uid = 0 } = found ?? {};
    return { path: at, mode, uid, writable: await mayWrite(at) };
  }
}

async function mayWrite(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function facts(path: string): Promise<FileFacts | undefined> {
  try {
    const { mode, uid } = await stat(path);
    return { path, mode: mode & 0o7777, uid };
  } catch (error) {
    if (nodeCode(error) === undefined) throw error;
    return undefined;
  }
}

async function names(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (nodeCode(error) === undefined) throw error;
    return [];
  }
}
