import type { Cell } from '../../base/metrics.ts';
import type { Load } from '../load.ts';
import type { HttpLimits } from '../options.ts';
import { BUSY_UPSTREAM, type UpstreamFailure } from './failures.ts';
import { type OpenLink, Upstream } from './upstream.ts';

export interface PoolOptions {
  readonly open: OpenLink;
  /** Where the next request goes, if that can be said now; not to `beside`, if there is another. */
  readonly pick: (beside: Load | undefined) => Load | undefined;
  readonly limits: HttpLimits;
  /** How long an idle connection waits unless its peer says less, ms. */
  readonly idleMs: number;
  readonly now: () => number;
  /** How many connections are open. */
  readonly openNow: Cell;
  /** The most that may be; no limit unless given. */
  readonly maxConnections?: number;
  /** A request was refused because too many wait. */
  readonly refused?: () => void;
}

/** Who wants a connection; called back once, perhaps before `take` returns. */
export interface Taker {
  ready(upstream: Upstream): void;
  failed(failure: UpstreamFailure): void;
}

/** The warm connections of one listener, by where they lead: last in, first out, so that those not needed grow cold. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #idle = new Map<Load, Upstream[]>();
  #idleCount = 0;
  readonly #waiting: Taker[] = [];
  /** Ended, and not yet gone. */
  readonly #leaving = new Set<Upstream>();
  #opening = 0;
  /** ms since the epoch, of the last sweep: near enough, and asked for with every request. */
  #now: number;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#now = options.now();
  }

  get idle(): number {
    return this.#idleCount;
  }

  /** Whether what failed at one place can be tried at another. */
  elsewhere(load: Load): boolean {
    return this.#options.pick(load) !== undefined;
  }

  /** An idle connection, or else a new one. `beside`: none that was used before, and to another place if there is one. */
  take(taker: Taker, beside?: Load): void {
    const load = this.#options.pick(beside) ?? beside;
    const upstream = beside === undefined && load !== undefined ? this.#warm(load) : undefined;
    if (upstream !== undefined) {
      taker.ready(upstream);
      return;
    }
    if (this.#opening < this.#options.limits.maxOpening) {
      if (this.#hasRoom) {
        this.#open(taker, load);
        return;
      }
      const other = this.#anyWarm();
      if (other !== undefined) {
        taker.ready(other);
        return;
      }
    }
    if (this.#waiting.length < this.#options.limits.maxWaiting) this.#waiting.push(taker);
    else {
      this.#options.refused?.();
      taker.failed(BUSY_UPSTREAM);
    }
  }

  /** Takes back a connection whose exchange ended in order on both sides. */
  release(upstream: Upstream): void {
    upstream.finish();
    const { load } = upstream;
    const full = this.#idleCount >= this.#options.limits.maxIdleUpstreams;
    if (!upstream.usable || this.#closed || full || load.retired) {
      this.#retire(upstream);
      return;
    }
    upstream.idleSince = this.#now;
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next.ready(upstream);
      return;
    }
    this.#idleCount++;
    const idle = this.#idle.get(load);
    if (idle === undefined) this.#idle.set(load, [upstream]);
    else idle.push(upstream);
  }

  /** Ends what waited too long, or would not be used again; called about once a second. */
  sweep(): void {
    for (const upstream of this.#leaving) upstream.destroy();
    this.#leaving.clear();
    this.#now = this.#options.now();
    for (const [load, idle] of this.#idle) {
      for (const upstream of [...idle]) {
        if (!load.retired && upstream.usable && this.#now - upstream.idleSince < upstream.idleMs) continue;
        this.#forget(upstream);
        this.#retire(upstream);
      }
      if (idle.length === 0) this.#idle.delete(load);
    }
  }

  /** Ends idle connections and keeps none from now on; those in use finish. */
  close(): void {
    this.#closed = true;
    const idle = [...this.#idle.values()].flat();
    this.#idle.clear();
    this.#idleCount = 0;
    for (const upstream of idle) this.#retire(upstream);
  }

  /** Closed, and nothing left to look after. */
  get over(): boolean {
    return this.#closed && this.#leaving.size === 0;
  }

  get #hasRoom(): boolean {
    const { maxConnections, openNow } = this.#options;
    return maxConnections === undefined || openNow.value + this.#opening < maxConnections;
  }

  #anyWarm(): Upstream | undefined {
    for (const load of this.#idle.keys()) {
      const upstream = load.retired ? undefined : this.#warm(load);
      if (upstream !== undefined) return upstream;
    }
    return undefined;
  }

  /** A place was given back. */
  #serveNext(): void {
    if (this.#waiting.length === 0 || this.#opening >= this.#options.limits.maxOpening || !this.#hasRoom) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#open(next, this.#options.pick(undefined));
  }

  #warm(load: Load): Upstream | undefined {
    const idle = this.#idle.get(load);
    for (let upstream = idle?.pop(); upstream !== undefined; upstream = idle?.pop()) {
      this.#idleCount--;
      if (upstream.usable && this.#now < upstream.expiresAt) return upstream;
      this.#retire(upstream);
    }
    return undefined;
  }

  /** In order where it can be; what does not leave by the next sweep is reset. */
  #retire(upstream: Upstream): void {
    if (!upstream.wire.idle || upstream.isTainted) {
      upstream.destroy();
      return;
    }
    this.#leaving.add(upstream);
    upstream.retire();
  }

  #forget(upstream: Upstream): void {
    this.#leaving.delete(upstream);
    const idle = this.#idle.get(upstream.load);
    const at = idle?.indexOf(upstream) ?? -1;
    if (at < 0) return;
    idle?.splice(at, 1);
    this.#idleCount--;
  }

  #open(taker: Taker, load: Load | undefined): void {
    const { open, openNow, idleMs } = this.#options;
    this.#opening++;
    open(load, (result) => {
      this.#opening--;
      if ('link' in result) {
        openNow.value++;
        const upstream = new Upstream(result, idleMs, (gone) => {
          openNow.value--;
          this.#forget(gone);
          this.#serveNext();
        });
        taker.ready(upstream);
      } else taker.failed(result);
      this.#serveNext();
    });
  }
}
