import type { Cell } from '../../base/metrics.ts';
import { BUSY_UPSTREAM, type UpstreamFailure } from '../http1/failures.ts';
import type { OpenLink } from '../http1/upstream.ts';
import type { Load } from '../load.ts';
import type { Http2Context } from './context.ts';
import { UpstreamSession } from './upstream.ts';

/** Connections of one listener; together they carry `maxStreams` times as many requests. */
const MAX_SESSIONS = 64;

export interface PoolOptions {
  readonly open: OpenLink;
  /** Where the next request goes, if that can be said now; not to `beside`, if there is another. */
  readonly pick: (beside: Load | undefined) => Load | undefined;
  readonly context: Http2Context;
  /** How long a connection without requests waits, ms. */
  readonly idleMs: number;
  /** How many connections are open. */
  readonly openNow: Cell;
  /** The most that may be, up to MAX_SESSIONS. */
  readonly maxConnections?: number;
  /** In place of that of `HttpLimits`. */
  readonly maxWaiting?: number;
  /** A request was refused because too many wait. */
  readonly refused?: () => void;
}

/** Who wants to send a request; called back once, perhaps before `take` returns. */
export interface Taker {
  ready(upstream: UpstreamSession): void;
  failed(failure: UpstreamFailure): void;
}

interface Waiting {
  readonly taker: Taker;
  load: Load | undefined;
}

/** The connections of one listener, shared by all its callers. One to a place is enough until its streams are used up. */
export class SessionPool {
  readonly #options: PoolOptions;
  readonly #sessions = new Set<UpstreamSession>();
  readonly #opening = new Set<Load | undefined>();
  #waiting: Waiting[] = [];
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** `beside`: to another place, if there is one. */
  take(taker: Taker, beside?: Load): void {
    const load = this.#options.pick(beside) ?? beside;
    const upstream = this.#for(load);
    if (upstream !== undefined) {
      taker.ready(upstream);
      return;
    }
    const { context, maxWaiting = context.limits.maxWaiting, refused } = this.#options;
    if (this.#waiting.length >= maxWaiting) {
      refused?.();
      taker.failed(BUSY_UPSTREAM);
      return;
    }
    this.#waiting.push({ taker, load });
    this.#open(load);
  }

  /** Whether what failed at one place can be tried at another. */
  elsewhere(load: Load): boolean {
    return this.#options.pick(load) !== undefined;
  }

  /** Called about once a second. */
  sweep(): void {
    const { context, idleMs } = this.#options;
    const now = context.now();
    for (const upstream of this.#sessions) upstream.tick(now, this.#closed || upstream.load.retired ? 0 : idleMs);
  }

  /** Ends connections without requests, and keeps none from now on. */
  close(): void {
    this.#closed = true;
    for (const upstream of this.#sessions) if (upstream.streams === 0) upstream.retire();
  }

  /** Closed, and nothing left to look after. */
  get over(): boolean {
    return this.#closed && this.#sessions.size === 0;
  }

  /** Where no connection may be made, one to another place is better than none. */
  #for(load: Load | undefined): UpstreamSession | undefined {
    return this.#withRoom(load) ?? (this.#full ? this.#withRoom(undefined) : undefined);
  }

  get #full(): boolean {
    const most = Math.min(this.#options.maxConnections ?? MAX_SESSIONS, MAX_SESSIONS);
    return this.#sessions.size + this.#opening.size >= most;
  }

  #withRoom(load: Load | undefined): UpstreamSession | undefined {
    let best: UpstreamSession | undefined;
    for (const upstream of this.#sessions) {
      if ((load !== undefined && upstream.load !== load) || !upstream.usable || !upstream.hasRoom) continue;
      if (best === undefined || upstream.streams < best.streams) best = upstream;
    }
    return best;
  }

  #open(load: Load | undefined): void {
    const { open, context, openNow } = this.#options;
    if (this.#opening.has(load) || this.#full) return;
    this.#opening.add(load);
    open(load, (result) => {
      this.#opening.delete(load);
      const mine = this.#waiting.filter((one) => one.load === load);
      if (!('link' in result)) {
        this.#waiting = this.#waiting.filter((one) => one.load !== load);
        for (const { taker } of mine) taker.failed(result);
        // There is room for those who wait for another place.
        this.#serveWaiting();
        return;
      }
      openNow.value++;
      const upstream = new UpstreamSession(
        result,
        context,
        () => this.#serveWaiting(),
        (gone) => {
          openNow.value--;
          this.#sessions.delete(gone);
          this.#serveWaiting();
        },
      );
      this.#sessions.add(upstream);
      // It may have led to another place than was wanted.
      for (const one of mine) one.load = result.load;
      this.#serveWaiting();
    });
  }

  #serveWaiting(): void {
    for (const one of [...this.#waiting]) {
      const upstream = this.#for(one.load);
      if (upstream === undefined) {
        this.#open(one.load);
        continue;
      }
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      one.taker.ready(upstream);
    }
  }
}
