import { chmod, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { CERT_MODE, DIRECTORY_MODE, KEY_MODE } from './layout.ts';

export interface Rights {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid?: number;
}

interface RepairOptions {
  /** Correct a mode and log it; otherwise refuse. */
  readonly repair: boolean;
  readonly log: Logger;
}

type Kind = 'key' | 'certificate' | 'directory';

const RULES: Readonly<Record<Kind, { mode: number; forbidden: number }>> = {
  key: { mode: KEY_MODE, forbidden: 0o077 },
  certificate: { mode: CERT_MODE, forbidden: 0o022 },
  directory: { mode: DIRECTORY_MODE, forbidden: 0o077 },
};

/**
 * Corrects or refuses a mode that lets others in. Resolves true when it was corrected.
 * SL-FS-002 for a key, SL-STORE-003 for the rest and for an owner who is neither this user nor root.
 */
export async function checkRights(kind: Kind, found: Rights, { repair, log }: RepairOptions): Promise<boolean> {
  checkOwner(found);
  const { mode, forbidden } = RULES[kind];
  if ((found.mode & forbidden) === 0) return false;
  if (repair) {
    try {
      await chmod(found.path, mode);
      log.warn({ event: 'mode_repaired', path: found.path, was: octal(found.mode), now: octal(mode) }, explain(kind));
      return true;
    } catch (cause) {
      if (isVolumeOfOurGroup(kind, found)) return false;
      throw tooOpen(kind, found, mode, cause);
    }
  }
  throw tooOpen(kind, found, mode);
}

/** For a directory of the store; a parent that anyone may write to lets anyone replace the directory. */
export async function checkStorageDirectory(path: string, options: RepairOptions): Promise<void> {
  const parent = await stat(dirname(path));
  const sticky = (parent.mode & 0o1000) !== 0;
  if ((parent.mode & 0o002) !== 0 && !sticky) {
    throw new SidelockError('SL-STORE-003', `${dirname(path)} is writable by everyone`, {
      why: `Its mode is ${octal(parent.mode)}: anyone could put another directory in the place of ${path}.`,
      fix: `chmod o-w ${dirname(path)}`,
      data: { path: dirname(path) },
    });
  }
  await checkDirectory(path, options);
}

export async function checkDirectory(path: string, options: RepairOptions): Promise<void> {
  const { mode, uid, gid } = await stat(path);
  await checkRights('directory', { path, mode: mode & 0o777, uid, gid }, options);
}

function checkOwner({ path, uid }: Rights): void {
  const own = process.geteuid?.() ?? uid;
  if (uid === own || uid === 0) return;
  throw new SidelockError('SL-STORE-003', `${path} belongs to another user`, {
    why: `Its owner has uid ${uid}, we run as uid ${own}. Whoever owns it can change it.`,
    fix: `chown ${own} ${path}, or run as uid ${uid}`,
    data: { path, uid, own },
  });
}

/** A Kubernetes volume with fsGroup: its top belongs to root and to the pod's own group, and we cannot chmod it. */
function isVolumeOfOurGroup(kind: Kind, { mode, gid }: Rights): boolean {
  return kind === 'directory' && (mode & 0o002) === 0 && ((mode & 0o020) === 0 || gid === process.getegid?.());
}

function tooOpen(kind: Kind, { path, mode }: Rights, wanted: number, cause?: unknown): SidelockError {
  return new SidelockError(kind === 'key' ? 'SL-FS-002' : 'SL-STORE-003', `${path} is open to other users`, {
    why: `Its mode is ${octal(mode)}. ${explain(kind)}.`,
    fix: `chmod ${octal(wanted)} ${path}`,
    cause,
    data: { path, mode: octal(mode) },
  });
}

function explain(kind: Kind): string {
  return kind === 'key'
    ? 'a private key could be read by other users; whoever read it can be this service until it is replaced'
    : `a ${kind} could be changed by other users`;
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
