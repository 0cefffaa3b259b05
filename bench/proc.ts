import { readFileSync } from 'node:fs';

/** Linux reports CPU time in these, whatever the kernel's own tick. */
const TICKS_PER_SECOND = 100;

/** CPU microseconds that a process has used so far, all its threads together. */
export interface Cpu {
  /** In user and kernel mode. */
  readonly all: number;
  /** In kernel mode; which of the two a moment belongs to is told by samples of it. */
  readonly kernel: number;
}

export function cpuOf(pid: number): Cpu {
  return parseCpu(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

/** Memory of a process in bytes, shared pages counted in proportion (PSS). */
export function pssBytes(pid: number): number {
  return parsePss(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
}

export function parseCpu(stat: string): Cpu {
  // The name in parentheses may itself hold spaces and parentheses: count fields from its end. utime and stime are 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const at = (i: number) => (Number(fields[i]) / TICKS_PER_SECOND) * 1e6;
  const [user, kernel] = [at(11), at(12)];
  if (!Number.isFinite(user) || !Number.isFinite(kernel)) throw new TypeError('not a /proc/PID/stat');
  return { all: user + kernel, kernel };
}

export function parsePss(rollup: string): number {
  const kilobytes = Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  if (!Number.isFinite(kilobytes)) throw new TypeError('not a /proc/PID/smaps_rollup');
  return kilobytes * 1024;
}
