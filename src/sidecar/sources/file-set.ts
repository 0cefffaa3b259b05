import { createHash } from 'node:crypto';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCode, SidelockError } from '../../base/errors.ts';
import { readGeneration } from '../../store/generation.ts';
import { DATA_LINK } from '../../store/layout.ts';

/** One file as it was read. */
export interface ReadFile {
  readonly path: string;
  readonly data: Buffer;
  /** Permission bits. */
  readonly mode: number;
  /** Owner. */
  readonly uid: number;
}

/** Files of one directory, all of one generation where it has such; by name. @throws SL-FS-001 naming the file */
export async function readFiles(directory: string, names: readonly string[]): Promise<(name: string) => ReadFile> {
  const read = await readGeneration(directory, names);
  return (name) => {
    const path = join(directory, name);
    const found = read.get(name);
    if (found === undefined) throw missing(path);
    return { path, data: found.data, mode: found.mode & 0o777, uid: found.uid };
  };
}

function missing(path: string): SidelockError {
  return new SidelockError('SL-FS-001', `${path} is missing`, { data: { path, reason: 'ENOENT' } });
}

/** SHA-256 over names, contents, and who else may use the key, so that putting that right is a change too. */
export function hashOf(files: readonly ReadFile[], key: ReadFile): string {
  const hash = createHash('sha256').update(`${(key.mode & OTHERS).toString(8)} ${key.uid}\n`);
  for (const { path, data } of files) hash.update(`${path}\n${data.length}\n`).update(data);
  return hash.digest('hex');
}

/**
 * Refuses a private key that others may read or replace. One case is let through: group-read in a mounted volume
 * (`..data`), because with `fsGroup` kubelet makes Secret files root:fsGroup 0640 and leaves no other way to read them.
 * @throws SL-FS-002
 */
export function checkKeyAccess(key: ReadFile, { mounted }: { readonly mounted: boolean }): void {
  const mode = `0${key.mode.toString(8)}`;
  const data = { path: key.path, mode, uid: key.uid };
  const us = process.geteuid?.() ?? key.uid;
  if (key.uid !== 0 && key.uid !== us) {
    throw new SidelockError('SL-FS-002', `the private key ${key.path} belongs to another user`, {
      why: `its owner is uid ${key.uid}, we run as uid ${us}`,
      fix: `chown ${us} ${key.path}`,
      data,
    });
  }
  if ((key.mode & OTHERS & ~(mounted ? GROUP_READ : 0)) === 0) return;
  throw new SidelockError('SL-FS-002', `the private key ${key.path} is open to other users`, {
    why: `its mode is ${mode}; ${mounted ? 'in a mounted volume 0640 is the widest accepted' : 'it must be 0600'}`,
    fix: mounted
      ? 'set defaultMode: 0400 on the Secret volume, and securityContext.fsGroup so that this process can read it'
      : `chmod 0600 ${key.path}; if others had it for long, issue the certificate again with a new key`,
    data,
  });
}

/** True for a directory whose files change by one rename of `..data`, as in a Kubernetes volume. */
export async function isMounted(directory: string): Promise<boolean> {
  try {
    return (await lstat(join(directory, DATA_LINK))).isSymbolicLink();
  } catch {
    return false;
  }
}

/** The passphrase in `file`, without the line end that editors add. @throws SL-FS-001 */
export async function readPassphrase(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw new SidelockError('SL-FS-001', `cannot read the passphrase file ${file}`, {
      why: `the system says ${nodeCode(error) ?? 'no more'}`,
      cause: error,
    });
  }
}

const OTHERS = 0o077;
const GROUP_READ = 0o040;
