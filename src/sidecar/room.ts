import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { containerMemory, socketCounter } from './container-memory.ts';
import type { SidecarLimits } from './options.ts';

/** What there is too little of for one more connection; metric label. */
export type Shortage = 'limit' | 'descriptors' | 'memory';

/** File descriptors that connections leave to files, name servers and the admin endpoints; of a small limit a quarter. */
const RESERVE = 64;

/** Of the memory of a container; the rest is for what is open already to grow. */
const MEMORY_SHARE = 0.7;

/** What a connection may come to hold, bytes: TLS, a small buffer whose reader is slow, and as much in the kernel. */
const GROWTH = 128 << 10;

/** Of `maxMemory`: from here on what is open does not only keep others out, but has to give way. */
const LAST_MARK = 1.1;

/** How long a look at the process's memory counts, ms. */
const LOOK = 50;

/** The same of the kernel's part, while there is little in all: to tell it the kernel adds up figures of every CPU. */
const LOOK_AT_SOCKETS = 500;

/**
 * The limits with what this process may use, where nothing else is said. Beyond the limit of descriptors Node closes what
 * it accepts without an error, and no file can be read; beyond that of memory the system ends the process.
 * @param ownSockets that this sidecar is about to open for itself
 */
export function withinProcess(limits: SidecarLimits, ownSockets: number): SidecarLimits {
  const descriptors = limits.maxDescriptors ?? freeDescriptors(ownSockets);
  const container = containerMemory();
  const memory = limits.maxMemory ?? (container === undefined ? undefined : container * MEMORY_SHARE);
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
function ownMemory(): number {
  try {
    // proc_pid_statm(5): size resident shared, in pages.
    const [, resident, shared] = readFileSync('/proc/self/statm', 'latin1').split(' ').map(Number);
    return ((resident ?? 0) - (shared ?? 0)) * PAGE;
  } catch {
    return process.memoryUsage.rss();
  }
}

function heldMemory(): Held {
  const counted = containerMemory() === undefined ? undefined : socketCounter();
  return { own: ownMemory, sockets: counted ?? (() => 0) };
}

const PAGE = 4096;

/**
 * What the process and the sockets of its container hold against what they may; pages of files, which the system can take
 * back, not counted. Of several threads each has the same view and its part of what has to be done about it.
 */
export interface MemoryGauge {
  /** Whether it holds more, or will: `young` connections hold less than they are going to. */
  short(young: number): boolean;
  /** The next question is answered by a look. */
  lookAgain(): void;
  /** Bytes that wait in the kernel for sockets, this thread's part, at the last look. */
  sockets(): number;
  /** Bytes beyond the mark from which on connections that are open have to go, this thread's part; negative below. */
  excess(): number;
}

/** Bytes of the process, and those of its container that wait in the kernel for sockets. */
interface Held {
  readonly own: () => number;
  readonly sockets: () => number;
}

/** @param max bytes; no limit when undefined */
export function memoryGauge(
  max: number | undefined,
  clock: Clock,
  threads = 1,
  { own, sockets }: Held = heldMemory(),
): MemoryGauge {
  if (max === undefined)
    return { short: () => false, lookAgain() {}, sockets: () => 0, excess: () => Number.NEGATIVE_INFINITY };
  let looked = 0;
  let seen = 0;
  let inSockets = 0;
  let lookedAtSockets = 0;
  const look = () => {
    const now = clock.now();
    if (Math.abs(now - looked) < LOOK) return seen;
    looked = now;
    if (seen > max / 2 || Math.abs(now - lookedAtSockets) >= LOOK_AT_SOCKETS) {
      inSockets = sockets();
      lookedAtSockets = now;
    }
    seen = own() + inSockets;
    return seen;
  };
  return {
    // Those of the others are taken to be as many.
    short: (young) => look() + young * threads * GROWTH > max,
    lookAgain() {
      looked = 0;
    },
    sockets: () => inSockets / threads,
    excess: () => (look() - max * LAST_MARK) / threads,
  };
}
