import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import { dirname } from 'node:path';
import { nodeCode, SidelockError } from '../base/errors.ts';

/** Kernel limit of a socket path (sun_path of 108 bytes with its NUL); Node cuts longer ones without a word. */
const MAX_PATH = 107;

/**
 * Binds `server` to a socket that only this user can open. What an earlier process left there is taken away:
 * the caller holds the lock of the storage, so nobody answers on it.
 * @throws SidelockError SL-NET-002
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  await checkPlace(path);
  await removeSocket(path);
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error) => reject(cannot(path, `the system says ${nodeCode(cause)}`, cause));
    server.once('error', failed);
    server.listen({ path }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  await chmod(path, 0o600);
}

export async function removeSocket(path: string): Promise<void> {
  try {
    if ((await lstat(path)).isSocket()) await unlink(path);
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw error;
  }
}

/** The directory is the fence: between bind and chmod the socket has the mode that the umask gives it. */
async function checkPlace(path: string): Promise<void> {
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH) throw cannot(path, `the path has ${length} bytes, a socket's may have ${MAX_PATH}`);
  const { mode, uid } = await stat(dirname(path));
  if ((mode & 0o077) !== 0 || uid !== process.geteuid?.()) {
    const shown = (mode & 0o777).toString(8).padStart(4, '0');
    throw cannot(path, `${dirname(path)} has mode ${shown} and owner ${uid}; others must be kept out of it (0700)`);
  }
}

function cannot(path: string, why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-NET-002', `cannot listen on the socket ${path}`, {
    why,
    fix: 'correct the directory, or choose a shorter storage path',
    cause,
  });
}
