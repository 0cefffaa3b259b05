import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';

/** Bytes that all in the container of this process may use together; undefined where it is in none with a limit. */
export function containerMemory(): number | undefined {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : undefined;
}

/**
 * Reads how many bytes wait in the kernel for the sockets of the container, which cgroups v2 charges it for beside its own
 * (`sock`): of a connection with a slow reader more than what the process holds for it. Undefined with v1, whose limit of
 * memory they do not count against.
 */
export function socketCounter(mount = '/sys/fs/cgroup', membership = '/proc/self/cgroup'): (() => number) | undefined {
  const path = /^0::(.*)$/m.exec(read(membership))?.[1] ?? '';
  const parts = path.split('/').filter((part) => part !== '');
  // A group without the controller of memory is counted in the nearest above it that has it; a container may see its own
  // as the root, though the path is that outside of it.
  const files = [...parts.keys(), parts.length].map((n) =>
    join(mount, ...parts.slice(0, parts.length - n), 'memory.stat'),
  );
  const file = files.find((file) => SOCK.test(read(file)));
  return file === undefined ? undefined : () => Number(SOCK.exec(read(file))?.[1] ?? 0);
}

const SOCK = /^sock (\d+)$/m;

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
