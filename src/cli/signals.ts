import { constants } from 'node:os';

/**
 * Imported before everything else: as PID 1 of a container a process without a handler ignores SIGTERM, and Node
 * opens its inspector, which is full memory read for any local process, on a SIGUSR1 without one.
 */

type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

const stop = new AbortController();
let graceful = false;

process.on('SIGUSR1', () => {});
process.on('SIGTERM', stopped);
process.on('SIGINT', stopped);

function stopped(signal: StopSignal): void {
  if (!graceful || stop.signal.aborted) process.exit(128 + constants.signals[signal]);
  stop.abort(signal);
}

/**
 * Aborts at the first SIGTERM or SIGINT, with the name of the signal as reason; a second one ends the process at
 * once. Until somebody asks for this, the first one does.
 */
export function stopSignal(): AbortSignal {
  graceful = true;
  return stop.signal;
}

/** SIGHUP is left to the system, so that nohup works, except where a terminal that closes must be cleaned up after. */
export function stopOnHangup(): void {
  process.on('SIGHUP', stopped);
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
