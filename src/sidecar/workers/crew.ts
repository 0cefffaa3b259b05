import type { NoticeReport } from '../../api/wire-news.ts';
import { MINUTE, SECOND } from '../../base/clock.ts';
import { isAbort } from '../../base/errors.ts';
import type { LogLevel } from '../../base/log.ts';
import { type MetricsSnapshot, pastOf } from '../../base/metrics.ts';
import { backoffDelay } from '../../base/retry.ts';
import type { HostPort, SidecarDependencies, UnixPath } from '../options.ts';
import type { ServingOptions } from '../serving.ts';
import type { Bound, Questions, ToWorker } from './messages.ts';
import { startWorker, type Worker } from './worker.ts';

const BACKOFF = { min: 100, max: 10 * SECOND };
/** A worker that has not stopped in this time, as a handshake has, is ended. */
const STOP_MS = 5 * SECOND;

interface CrewOptions extends SidecarDependencies {
  readonly count: number;
  /** For a thread that is started now. */
  readonly options: () => ServingOptions;
  /** What a new worker is told first; all else is posted to everyone. */
  readonly greeting: () => readonly ToWorker[];
  /** How many have an identity for new connections. */
  readonly changed: (ready: number) => void;
  readonly refused: (reports: readonly NoticeReport[]) => void;
}

interface Slot {
  readonly number: number;
  worker: Worker;
  /** New connections get an identity. */
  ready: boolean;
  /** Its metrics when it was asked last. */
  counted: MetricsSnapshot;
}

interface Answer<K extends keyof Questions> {
  /** Its number. */
  readonly worker: number;
  /** Undefined when it was gone first, or the signal aborted. */
  readonly answer: Questions[K][1] | undefined;
}

/** Threads of a number that stays: one that ends is started again, with back-off, while the others serve on. */
interface Crew extends AsyncDisposable {
  readonly bound: Bound;
  post(message: ToWorker): void;
  /** Asks everyone; who is being started answers later. */
  ask<K extends keyof Questions>(what: K, given: Questions[K][0], signal: AbortSignal): Promise<Array<Answer<K>>>;
  /** What all have counted, also those that are gone. */
  counted(signal: AbortSignal): Promise<readonly MetricsSnapshot[]>;
  /** From now on nobody is started again. */
  dismiss(): void;
}

/** Resolves when all are bound. @throws SL-NET-001, SL-NET-002, SL-NET-003, SL-CFG-003, and nothing is left open */
export async function startCrew({ count, options, greeting, changed, refused, ...deps }: CrewOptions): Promise<Crew> {
  const { clock, random, log, metrics } = deps;
  const stop = new AbortController();
  const restarts = metrics.counter('sidelock_worker_restarts_total', 'Threads that ended and were started again.');
  const restarted = restarts.with({});
  const slots: Slot[] = [];
  let bound: Bound | undefined;
  let past: MetricsSnapshot = [];

  const tell = () => {
    const ready = slots.filter((slot) => slot.ready).length;
    changed(ready);
    return ready;
  };
  const start = (number: number, taken: () => void): Worker => {
    const worker = startWorker({
      number,
      data: {
        options: bound === undefined ? options() : withPorts(options(), bound),
        sharing: bound === undefined ? 'claims' : 'joins',
        logLevel: log.level as LogLevel,
      },
      log,
      taken,
      refused,
    });
    for (const message of greeting()) worker.post(message);
    return worker;
  };
  const enlist = (number: number): Slot => {
    const taken = () => {
      slot.ready = true;
      tell();
    };
    const slot: Slot = { number, worker: start(number, taken), ready: false, counted: [] };
    slots.push(slot);
    const keep = async () => {
      for (let attempt = 0; ; attempt++) {
        const since = clock.now();
        const error = await slot.worker.ended;
        if (stop.signal.aborted) return;
        past = pastOf([past, slot.counted]);
        slot.counted = [];
        slot.ready = false;
        log.error(
          { event: 'worker_ended', code: 'SL-WORK-001', worker: number, err: error },
          `worker ${number} ended and is started again; ${tell()} of ${count} serve on`,
        );
        if (clock.now() - since > MINUTE) attempt = 0;
        await clock.sleep(backoffDelay(attempt, BACKOFF, random), stop.signal);
        restarted.value++;
        slot.worker = start(number, taken);
      }
    };
    // One that never gets that far stops the start, and is told there.
    const kept = slot.worker.bound.then(keep, () => {});
    kept.catch((error: unknown) => {
      if (!isAbort(error)) log.error({ event: 'internal_error', err: error }, 'a worker is no longer started again');
    });
    return slot;
  };

  await using undo = new AsyncDisposableStack();
  undo.defer(async () => {
    stop.abort();
    await Promise.all(slots.map(({ worker }) => end(worker)));
  });
  // The first claims the ports, and where the system chooses it has their numbers for the rest.
  bound = await enlist(1).worker.bound;
  await Promise.all(Array.from({ length: count - 1 }, (_, i) => enlist(i + 2).worker.bound));
  const running = undo.move();
  return {
    bound,
    post(message) {
      for (const { worker } of slots) worker.post(message);
    },
    ask: (what, given, signal) =>
      Promise.all(
        slots
          .filter(({ worker }) => !worker.gone)
          .map(async ({ number, worker }) => ({ worker: number, answer: await worker.ask(what, given, signal) })),
      ),
    async counted(signal) {
      await Promise.all(
        slots.map(async (slot) => {
          slot.counted = (await slot.worker.ask('metrics', undefined, signal)) ?? slot.counted;
        }),
      );
      return [past, ...slots.map(({ counted }) => counted)];
    },
    dismiss: () => stop.abort(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function end(worker: Worker): Promise<void> {
  worker.post({ is: 'stop' });
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, STOP_MS);
  await Promise.race([worker.ended, late.promise]);
  clearTimeout(timer);
  await worker.terminate();
}

function withPorts(options: ServingOptions, { inbound, outbound, proxy }: Bound): ServingOptions {
  const fix = <O extends { readonly name: string; readonly listen?: HostPort | UnixPath | undefined }>(
    all: readonly O[],
    found: Bound['inbound'],
  ): O[] =>
    all.map((one) => {
      const port = found.find(({ name }) => name === one.name)?.address.port;
      const { listen } = one;
      return listen === undefined || 'path' in listen || port === undefined
        ? one
        : { ...one, listen: { ...listen, port } };
    });
  const { forwardProxy } = options;
  const port = proxy[0]?.address.port;
  return {
    ...options,
    inbound: fix(options.inbound, inbound),
    outbound: fix(options.outbound, outbound),
    ...(forwardProxy === undefined || port === undefined ? {} : { forwardProxy: { ...forwardProxy, port } }),
  };
}
