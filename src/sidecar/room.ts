import { readdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { SidecarLimits } from './options.ts';

/** What there is too little of for one more connection; metric label. */
export type Shortage = 'limit' | 'descriptors' | 'memory';

/** File descriptors that connections leave to files, name servers and the admin endpoints; of a small limit a quarter. */
const RESERVE = 64;

/** Of the memory of a container; the rest is for the kernel's part of sockets, and for what is open already to grow. */
const MEMORY_SHARE = 0.7;

/** What a connection may come to hold, bytes: TLS, and a buffer whose reader is slow. */
const GROWTH = 64 << 10;

/** Of `maxMemory`: from here on what is open does not only keep others out, but has to give way. */
const LAST_MARK = 1.1;

/** How long a look at the process's memory counts, ms. */
const LOOK = 50;

/**
 * The limits with what this process may use, where nothing else is said. Beyond the limit of descriptors Node closes what
 * it accepts without an error, and no file can be read; beyond that of memory the system ends the process.
 * @param ownSockets that this sidecar is about to open for itself
 */
export function withinProcess(limits: SidecarLimits, ownSockets: number): SidecarLimits {
  const descriptors = limits.maxDescriptors ?? freeDescriptors(ownSockets);
  const memory = limits.maxMemory ?? containerMemory();
  return {
    ...limits,
    ...(descriptors === undefined ? {} : { maxDescriptors: descriptors }),
    ...(memory === undefined ? {} : { maxMemory: memory }),
  };
}

/** Undefined where the system does not tell. */
function freeDescriptors(ownSockets: number): number | undefined {
  try {
    const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]);
    const used = readdirSync('/proc/self/fd').length + ownSockets;
    return Number.isNaN(limit) ? undefined : Math.max(2, limit - Math.min(RESERVE, limit >> 2) - used);
  } catch {
    return undefined;
  }
}

/** Bytes; with files where the system does not tell them apart. */
function heldMemory(): number {
  try {
    // proc_pid_statm(5): size resident shared, in pages.
    const [, resident, shared] = readFileSync('/proc/self/statm', 'latin1').split(' ').map(Number);
    return ((resident ?? 0) - (shared ?? 0)) * PAGE;
  } catch {
    return process.memoryUsage.rss();
  }
}

const PAGE = 4096;

function containerMemory(): number | undefined {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit * MEMORY_SHARE : undefined;
}

/**
 * What the process holds against what it may; pages of files, which the system can take back, not counted. Of several
 * threads each has the same view and its part of what has to be done about it.
 */
export interface MemoryGauge {
  /** Whether it holds more, or will: `young` connections hold less than they are going to. */
  short(young: number): boolean;
  /** Bytes beyond the mark from which on connections that are open have to go, this thread's part; negative below. */
  excess(): number;
}

/** @param max bytes; no limit when undefined */
export function memoryGauge(max: number | undefined, clock: Clock, threads = 1, held = heldMemory): MemoryGauge {
  if (max === undefined) return { short: () => false, excess: () => Number.NEGATIVE_INFINITY };
  let looked = 0;
  let seen = 0;
  const look = () => {
    const now = clock.now();
    if (Math.abs(now - looked) < LOOK) return seen;
    looked = now;
    seen = held();
    return seen;
  };
  return {
    // Those of the others are taken to be as many.
    short: (young) => look() + young * threads * GROWTH > max,
    excess: () => (look() - max * LAST_MARK) / threads,
  };
}
