import type { Stats } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';

const MEANING: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'no such file',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ELOOP: 'symbolic links that lead in a circle, or a link where none may be',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file size limit of this process',
  EROFS: 'the file system is read-only',
};

/** A failed read as SL-FS-001, with the owner and mode that explain it. Errors that are explained already pass. */
export async function readFailure(path: string, error: unknown): Promise<SidelockError> {
  if (isSidelockError(error)) return error;
  const code = nodeCode(error);
  return new SidelockError('SL-FS-001', `cannot read ${path}: ${meaning(code)}`, {
    ...(isDenied(code) ? await explainDenial(path) : {}),
    cause: error,
    data: { path, reason: code },
  });
}

/** A failed write as SL-FS-003, with what was in the way. Errors that are explained already pass. */
export async function writeFailure(path: string, error: unknown): Promise<SidelockError> {
  if (isSidelockError(error)) return error;
  const code = nodeCode(error);
  return new SidelockError('SL-FS-003', `cannot write ${path}: ${meaning(code)}`, {
    ...(isDenied(code) ? await explainDenial(path) : {}),
    ...(code === 'ENOSPC' ? await explainFullDisk(path) : {}),
    cause: error,
    data: { path, reason: code },
  });
}

function meaning(code: string | undefined): string {
  if (code === undefined) return 'unexpected error';
  const text = MEANING[code];
  return text === undefined ? code : `${text} (${code})`;
}

function isDenied(code: string | undefined): boolean {
  return code === 'EACCES' || code === 'EPERM';
}

async function explainDenial(path: string): Promise<{ why?: string; fix?: string }> {
  const found = await nearestStats(path);
  if (found === undefined) return {};
  const uid = process.geteuid?.();
  const gid = process.getegid?.();
  const mode = (found.stats.mode & 0o777).toString(8).padStart(4, '0');
  return {
    why: `${found.path} has owner ${found.stats.uid}:${found.stats.gid} mode ${mode}, we run as uid ${uid} (group ${gid})`,
    fix: `chown ${uid} ${found.path}, or in Kubernetes set securityContext.fsGroup: ${gid}`,
  };
}

async function explainFullDisk(path: string): Promise<{ why?: string }> {
  const found = await nearestStats(path);
  if (found === undefined) return {};
  const { bavail, bsize, ffree } = await statfs(found.path);
  return {
    why: `${bavail * bsize} bytes and ${ffree} inodes are free where ${found.path} is; the old files are untouched`,
  };
}

/** The path itself, or the nearest directory above it that can be looked at. */
async function nearestStats(path: string): Promise<{ path: string; stats: Stats } | undefined> {
  for (let at = path; ; at = dirname(at)) {
    try {
      return { path: at, stats: await stat(at) };
    } catch {
      if (at === dirname(at)) return undefined;
    }
  }
}
