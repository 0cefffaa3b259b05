import { readdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { SidecarLimits } from './options.ts';

/** What there is too little of for one more connection; metric label. */
export type Shortage = 'limit' | 'descriptors' | 'memory';

/** File descriptors that connections leave to files, name servers and the admin endpoints; of a small limit a quarter. */
const RESERVE = 64;

/** Of the memory of a container; the rest is for the kernel's part of sockets, and for what is open already to grow. */
const MEMORY_SHARE = 0.75;

/** What a connection may come to hold, bytes: TLS, and a buffer whose reader is slow. */
const GROWTH = 64 << 10;

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
 * Whether the process holds more memory than `max` bytes, not counting pages of files, which the system can take back.
 * What it is given: how many connections are so young that they will hold more than they do.
 */
export function memoryGauge(max: number | undefined, clock: Clock, held = heldMemory): (young: number) => boolean {
  if (max === undefined) return () => false;
  let looked = 0;
  let seen = 0;
  return (young) => {
    const now = clock.now();
    if (Math.abs(now - looked) >= LOOK) {
      looked = now;
      seen = held();
    }
    return seen + young * GROWTH > max;
  };
}
