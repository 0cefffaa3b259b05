import { constants } from 'node:os';

/**
 * Imported before everything else: as PID 1 of a container a process without a handler ignores SIGTERM, and Node
 * opens its inspector, which is full memory read for any local process, on a SIGUSR1 without one.
 */

type Handled = 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGQUIT' | 'SIGUSR1' | 'SIGUSR2';

const stop = new AbortController();
let graceful = false;
let take: ((signal: Handled) => void) | undefined;

process.on('SIGUSR1', received);
process.on('SIGTERM', received);
process.on('SIGINT', received);

function received(signal: Handled): void {
  if (take !== undefined) take(signal);
  else if (signal === 'SIGUSR1' || signal === 'SIGUSR2') return;
  else if (!graceful || stop.signal.aborted) process.exit(128 + constants.signals[signal]);
  else stop.abort(signal);
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
  process.on('SIGHUP', received);
}

/** Instead of ending, SIGHUP now means `reload`. */
export function onHangup(reload: () => void): void {
  process.on('SIGHUP', reload);
}

/** From now on `taker` gets every signal that a program may be sent on purpose. */
export function takeSignals(taker: (signal: NodeJS.Signals) => void): void {
  take = taker;
  for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const) process.on(signal, received);
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
