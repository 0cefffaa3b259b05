import { extname, join } from 'node:path';
import { Worker as Thread } from 'node:worker_threads';
import type { NoticeReport } from '../../api/wire-news.ts';
import { SidelockError } from '../../base/errors.ts';
import type { Logger, LogLevel } from '../../base/log.ts';
import type { Bound, FromWorker, Questions, ThreadData, ToWorker } from './messages.ts';

/** A worker thread, from outside. */
export interface Worker {
  /** Resolves when every port is bound; rejects when one cannot be, or the thread ends before. */
  readonly bound: Promise<Bound>;
  /** Resolves when the thread has ended, with the reason. */
  readonly ended: Promise<unknown>;
  readonly gone: boolean;
  /** Read in the order of posting, from when the ports are bound. To a thread that is gone it does nothing. */
  post(message: ToWorker): void;
  /** Resolves undefined when the thread is gone first, or `signal` aborts. */
  ask<K extends keyof Questions>(
    what: K,
    given: Questions[K][0],
    signal?: AbortSignal,
  ): Promise<Questions[K][1] | undefined>;
  terminate(): Promise<unknown>;
}

interface WorkerOptions {
  /** 1 for the first; said in the log. */
  readonly number: number;
  readonly data: ThreadData;
  readonly log: Logger;
  /** It has the identity that was posted. */
  readonly taken: () => void;
  readonly refused: (reports: readonly NoticeReport[]) => void;
}

export function startWorker({ number, data, log, taken, refused }: WorkerOptions): Worker {
  const thread = new Thread(FILE, { workerData: data, name: `sidelock worker ${number}` });
  const bound = Promise.withResolvers<Bound>();
  const ended = Promise.withResolvers<unknown>();
  const asked = new Map<number, (answer: Questions[keyof Questions][1] | undefined) => void>();
  let nextId = 1;
  let gone = false;
  let why: unknown;
  const over = (reason: unknown) => {
    gone = true;
    for (const settle of asked.values()) settle(undefined);
    bound.reject(reason);
    ended.resolve(reason);
  };

  thread.on('message', (message: FromWorker) => {
    switch (message.is) {
      case 'bound':
        bound.resolve(message);
        break;
      case 'failed': {
        const { code, message: text, ...rest } = message.failure;
        why = new SidelockError(code, text, rest);
        break;
      }
      case 'taken':
        taken();
        break;
      case 'refused':
        refused(message.reports);
        break;
      case 'log':
        repeat(message.line, log, number);
        break;
      case 'answer':
        asked.get(message.id)?.(message.answer);
        break;
    }
  });
  // It runs no more of ours; that it has been cleared away need not be waited for.
  thread.once('error', over);
  thread.once('exit', (code) => {
    over(why ?? new SidelockError('SL-WORK-001', `worker ${number} ended with code ${code}`));
  });
  bound.promise.catch(() => {});

  return {
    bound: bound.promise,
    ended: ended.promise,
    get gone() {
      return gone;
    },
    post: (message) => thread.postMessage(message),
    ask<K extends keyof Questions>(what: K, given: Questions[K][0], signal?: AbortSignal) {
      return new Promise<Questions[K][1] | undefined>((resolve) => {
        if (gone || signal?.aborted === true) {
          resolve(undefined);
          return;
        }
        const id = nextId++;
        const aborted = () => settle(undefined);
        const settle = (answer: Questions[keyof Questions][1] | undefined) => {
          asked.delete(id);
          signal?.removeEventListener('abort', aborted);
          // The answer with this id is the answer to this question.
          resolve(answer as Questions[K][1] | undefined);
        };
        signal?.addEventListener('abort', aborted, { once: true });
        asked.set(id, settle);
        thread.postMessage({ is: 'ask', id, what, given } satisfies ToWorker);
      });
    },
    terminate: () => thread.terminate(),
  };
}

/** TypeScript here, JavaScript in the package; in a bundle its name is the same and its place that of this code. */
const FILE = join(import.meta.dirname, `thread${extname(import.meta.filename)}`);

const LEVELS: Readonly<Record<number, Exclude<LogLevel, 'silent'>>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
};

/** What each worker says of the config once is said by the first. */
const OF_CONFIG: ReadonlySet<unknown> = new Set(['policy_audit', 'permissive', 'strict']);

/** One log for all: its level, form and place are decided in the main thread. */
function repeat(line: string, log: Logger, worker: number): void {
  const {
    level,
    time: _,
    msg,
    ...fields
  }: { level: number; time: string; msg: string; event?: string } = JSON.parse(line);
  if (worker > 1 && OF_CONFIG.has(fields.event)) return;
  log[LEVELS[level] ?? 'error']({ ...fields, worker }, msg);
}
