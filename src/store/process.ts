import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { nodeCode } from '../base/errors.ts';

/** A process, named so that no later process can be taken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to its start: a process that got the same pid later has another. Absent without /proc. */
  readonly startTime?: string;
  readonly host: string;
  /** One start of the kernel. Absent without /proc. */
  readonly boot?: string;
  /** The namespace that `pid` counts in: containers on one machine each have their pid 1. Absent without /proc. */
  readonly pidNamespace?: string;
}

export async function thisProcess(): Promise<ProcessIdentity> {
  const [startTime, boot, pidNamespace] = await Promise.all([
    startTimeOf(process.pid),
    orAbsent(readFile('/proc/sys/kernel/random/boot_id', 'utf8')),
    orAbsent(readlink('/proc/self/ns/pid')),
  ]);
  return {
    pid: process.pid,
    host: hostname(),
    ...(startTime === undefined ? {} : { startTime }),
    ...(boot === undefined ? {} : { boot: boot.trim() }),
    ...(pidNamespace === undefined ? {} : { pidNamespace }),
  };
}

/**
 * Whether `other` runs, as far as can be told from here; undefined when it cannot:
 * it is in another container of this machine, or on another machine.
 */
export async function isRunning(other: ProcessIdentity, self: ProcessIdentity): Promise<boolean | undefined> {
  if (other.boot !== self.boot) return other.host === self.host ? false : undefined;
  if (other.pidNamespace !== self.pidNamespace) return undefined;
  const startTime = await startTimeOf(other.pid);
  return startTime === undefined ? exists(other.pid) : startTime === other.startTime;
}

/** Field 22 of proc(5) stat. The command, field 2, may hold blanks and brackets, so fields are counted from its end. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const text = await orAbsent(readFile(`/proc/${pid}/stat`, 'utf8'));
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return nodeCode(error) === 'EPERM';
  }
}

async function orAbsent(text: Promise<string>): Promise<string | undefined> {
  try {
    return await text;
  } catch {
    return undefined;
  }
}
