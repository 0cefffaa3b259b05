import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';

/** Bytes that all in the container of this process may use together; undefined where it is in none with a limit. */
export function containerMemory(): number | undefined {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : undefined;
}

/**
 * Reads how many bytes wait in the kernel for the sockets of the container: those that cgroups v2 charges it for beside its
 * own (`sock`); with v1 where it was asked to count them (`kmem.tcp`). Of a connection with a slow reader that is more than
 * what the process holds for it. Undefined where nothing tells.
 */
export function socketCounter(mount = '/sys/fs/cgroup', membership = '/proc/self/cgroup'): (() => number) | undefined {
  const groups = read(membership);
  const v2 = /^0::(.*)$/m.exec(groups)?.[1] ?? '';
  const v1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(groups)?.[1] ?? '';
  // A container may see its own group as the root, though the path is that outside of it.
  const sources = [
    ...[v2, ''].map((path) => ({ file: join(mount, path, 'memory.stat'), pattern: /^sock (\d+)$/m })),
    ...[v1, ''].map((path) => ({
      file: join(mount, 'memory', path, 'memory.kmem.tcp.usage_in_bytes'),
      pattern: /^(\d+)$/m,
    })),
  ];
  const source = sources.find(({ file, pattern }) => pattern.test(read(file)));
  return source === undefined ? undefined : () => Number(source.pattern.exec(read(source.file))?.[1] ?? 0);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
