import { addAbortListener } from 'node:events';
import { realpath, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type FSWatcher, watch } from 'chokidar';
import { SECOND } from '../base/clock.ts';
import { isAbort, nodeCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

interface WatchOptions {
  /** May be missing, vanish and come back. */
  readonly dir: string;
  /** From the first event to the call, ms: what a writer does in between costs one call. */
  readonly debounceMs?: number | undefined;
  /** `onChange` is also called this often, ms, because no watch is trusted to see everything. */
  readonly pollMs?: number | undefined;
  readonly log: Logger;
  /** Something may have changed; it is for the caller to read and compare. Never called twice at the same time. */
  readonly onChange: () => Promise<void>;
  /** Ends the watch like disposal does. */
  readonly signal?: AbortSignal;
}

/** How often the directory is looked at where it cannot be watched. */
const FALLBACK_POLL_MS = 2 * SECOND;

/** inotify's limits: instances, and watches. Both are per user and shared by all pods of a node. */
const EXHAUSTED = new Set(['EMFILE', 'ENFILE', 'ENOSPC']);

/**
 * Calls `onChange` soon after anything in the directory changed, after a `..data` swap as after plain overwriting,
 * and once at the start so that nothing is missed between a first read and the watch. Resolves when changes are seen.
 *
 * Where the system gives no watch it polls, and says so once. Does not keep the process alive. Disposal waits for
 * a call in progress.
 */
export async function watchDirectory(options: WatchOptions): Promise<AsyncDisposable> {
  const { dir, log, pollMs = 30 * SECOND } = options;
  const closing = new AbortController();
  const signal = options.signal === undefined ? closing.signal : AbortSignal.any([options.signal, closing.signal]);
  const calls = singleFlight(options, signal);
  const observer = createObserver(dir, log, calls.request, signal);

  await observer.open();
  const safetyNet = untilAborted(async () => {
    for (;;) {
      await delay(pollMs, undefined, { signal, ref: false });
      await observer.reopenIfMoved();
      calls.request();
    }
  });

  const close = once(async () => {
    closing.abort();
    await Promise.all([safetyNet, observer.close(), calls.finished()]);
  });
  if (signal.aborted) await close();
  else addAbortListener(signal, close);
  return { [Symbol.asyncDispose]: close };
}

/** Runs `onChange` a debounce after a request; requests during a run are answered by one more run. */
function singleFlight({ debounceMs = 150, log, onChange }: WatchOptions, signal: AbortSignal) {
  let requested = false;
  let running: Promise<void> | undefined;

  const run = async () => {
    while (requested) {
      await delay(debounceMs, undefined, { signal, ref: false });
      requested = false;
      try {
        await onChange();
      } catch (error) {
        log.error({ event: 'watch_failed', err: error }, 'a change in a watched directory could not be handled');
      }
    }
    running = undefined;
  };

  return {
    request: () => {
      if (signal.aborted) return;
      requested = true;
      running ??= untilAborted(run);
    },
    finished: async () => await running,
  };
}

function createObserver(dir: string, log: Logger, changed: () => void, signal: AbortSignal) {
  let mode: 'native' | 'polling' = 'native';
  let watcher: FSWatcher | undefined;
  let watched = '';
  let opening = Promise.resolve();

  const failed = (error: unknown) => {
    const code = nodeCode(error) ?? 'unknown';
    if (mode === 'native' && EXHAUSTED.has(code)) {
      mode = 'polling';
      log.warn(
        { event: 'watch_polling', directory: dir, reason: code, everyMs: FALLBACK_POLL_MS },
        'the system gives no watch for a directory, so it is polled: raise fs.inotify.max_user_instances and max_user_watches',
      );
      open();
    } else log.debug({ event: 'watch_error', directory: dir, reason: code }, 'a watch reported an error');
  };

  const replace = async () => {
    if (signal.aborted) return;
    const { path, identity } = await identify(dir);
    const next = startWatcher(path, mode);
    next.on('error', failed);
    await ready(next, signal);
    // `raw` too: `all` compares size and modification time, which an overwrite can leave as they were.
    next.on('all', changed);
    next.on('raw', changed);
    await watcher?.close();
    watcher = next;
    watched = identity;
    // For what happened between the old watch and this one.
    changed();
  };

  const open = () => {
    opening = opening.then(replace).catch(failed);
    return opening;
  };

  return {
    open,
    /** The directory may have been deleted, made again, or be reached through another link since it was opened. */
    reopenIfMoved: async () => {
      const { identity } = await identify(dir);
      if (identity !== watched) await open();
    },
    close: async () => {
      await opening;
      await watcher?.close();
    },
  };
}

function startWatcher(path: string, backend: 'native' | 'polling'): FSWatcher {
  return watch(path, {
    backend,
    pollingInterval: FALLBACK_POLL_MS,
    // One level down, for a write through a link into the generation directory.
    depth: 1,
    // A followed `..data` would tell of the removal of the old generation, not of the swap.
    followSymlinks: false,
    ignoreInitial: true,
    atomic: false,
    persistent: false,
  });
}

function ready(watcher: FSWatcher, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const listening = addAbortListener(signal, () => resolve());
    watcher.once('ready', () => {
      listening[Symbol.dispose]();
      resolve();
    });
  });
}

/** Which directory it is, not only by name. Links are resolved because chokidar watches a link, not what it leads to. */
async function identify(dir: string): Promise<{ path: string; identity: string }> {
  try {
    const path = await realpath(dir);
    const { dev, ino, birthtimeNs } = await stat(path, { bigint: true });
    return { path, identity: [path, dev, ino, birthtimeNs].join(':') };
  } catch (error) {
    return { path: dir, identity: nodeCode(error) ?? 'unknown' };
  }
}

async function untilAborted(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}

function once<T>(start: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined;
  return () => {
    started ??= start();
    return started;
  };
}
