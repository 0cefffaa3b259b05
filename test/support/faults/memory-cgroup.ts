import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';

interface MemoryGroup {
  /** Shell commands by which a process puts itself there. */
  readonly enter: string;
  /** How often the group was out of memory: killed somebody. */
  kills(): Promise<number>;
  /** Bytes: the most it used; with v1 without what waited in the kernel for its sockets. */
  most(): Promise<number>;
  /** Bytes that wait there. */
  sockets(): number;
}

const V1 = '/sys/fs/cgroup/memory';
const V2 = '/sys/fs/cgroup';

/** A cgroup whose processes may use `bytes` together; undefined where this user may make none. Ends with the test. */
export async function memoryGroup(t: Test, bytes: number): Promise<MemoryGroup | undefined> {
  const v2 = existsSync(join(V2, 'cgroup.controllers'));
  const directory = join(v2 ? V2 : V1, `sidelock-faults-${process.pid}`);
  try {
    await mkdir(directory);
    t.teardown(async () => {
      // The kernel lets go of those that ended a moment later.
      for (let i = 0; i < 50 && existsSync(directory); i++) await rmdir(directory).catch(() => delay(100));
    });
    await writeFile(join(directory, v2 ? 'memory.max' : 'memory.limit_in_bytes'), String(bytes));
    // v1 counts what sockets hold apart, and only where somebody limits it; with v2 they would have what the rest leaves.
    if (!v2) await writeFile(join(directory, 'memory.kmem.tcp.limit_in_bytes'), String(bytes / 2));
  } catch {
    return undefined;
  }
  return {
    enter: `echo $$ > ${join(directory, 'cgroup.procs')}`,
    async most() {
      return Number(await readFile(join(directory, v2 ? 'memory.peak' : 'memory.max_usage_in_bytes'), 'utf8'));
    },
    sockets() {
      const file = v2 ? 'memory.stat' : 'memory.kmem.tcp.usage_in_bytes';
      return Number(/^(?:sock )?(\d+)$/m.exec(readFileSync(join(directory, file), 'utf8'))?.[1] ?? 0);
    },
    async kills() {
      const text = await readFile(join(directory, v2 ? 'memory.events' : 'memory.oom_control'), 'utf8');
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
    },
  };
}
