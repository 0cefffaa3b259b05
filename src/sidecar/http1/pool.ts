import type { Cell } from '../../base/metrics.ts';
import type { HttpLimits } from '../options.ts';
import { BUSY_UPSTREAM, type UpstreamFailure } from './failures.ts';
import { type OpenLink, Upstream } from './upstream.ts';

export interface PoolOptions {
  readonly open: OpenLink;
  readonly limits: HttpLimits;
  /** How long an idle connection waits unless its peer says less, ms. */
  readonly idleMs: number;
  readonly now: () => number;
  /** How many connections are open. */
  readonly openNow: Cell;
}

/** Who wants a connection; called back once, perhaps before `take` returns. */
export interface Taker {
  ready(upstream: Upstream): void;
  failed(failure: UpstreamFailure): void;
}

/** The warm connections of one listener: last in, first out, so that those not needed grow cold. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #idle: Upstream[] = [];
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
    return this.#idle.length;
  }

  /** An idle connection, or else a new one. `fresh`: none that was used before. */
  take(taker: Taker, fresh = false): void {
    while (!fresh) {
      const upstream = this.#idle.pop();
      if (upstream === undefined) break;
      if (upstream.usable && this.#now < upstream.expiresAt) {
        taker.ready(upstream);
        return;
      }
      this.#retire(upstream);
    }
    const { maxOpening, maxWaiting } = this.#options.limits;
    if (this.#opening < maxOpening) this.#open(taker);
    else if (this.#waiting.length < maxWaiting) this.#waiting.push(taker);
    else taker.failed(BUSY_UPSTREAM);
  }

  /** Takes back a connection whose exchange ended in order on both sides. */
  release(upstream: Upstream): void {
    upstream.finish();
    if (!upstream.usable || this.#closed || this.#idle.length >= this.#options.limits.maxIdleUpstreams) {
      this.#retire(upstream);
      return;
    }
    upstream.idleSince = this.#now;
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(upstream);
    else next.ready(upstream);
  }

  /** Ends what waited too long; called about once a second. */
  sweep(): void {
    for (const upstream of this.#leaving) upstream.destroy();
    this.#leaving.clear();
    this.#now = this.#options.now();
    for (const upstream of [...this.#idle]) {
      if (this.#now - upstream.idleSince < upstream.idleMs) continue;
      this.#forget(upstream);
      this.#retire(upstream);
    }
  }

  /** Ends idle connections and keeps none from now on; those in use finish. */
  close(): void {
    this.#closed = true;
    for (const upstream of this.#idle.splice(0)) this.#retire(upstream);
  }

  /** Closed, and nothing left to look after. */
  get over(): boolean {
    return this.#closed && this.#leaving.size === 0;
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
    const at = this.#idle.indexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #open(taker: Taker): void {
    const { open, openNow, idleMs } = this.#options;
    this.#opening++;
    open((result) => {
      this.#opening--;
      if ('link' in result) {
        openNow.value++;
        const upstream = new Upstream(result, idleMs, (gone) => {
          openNow.value--;
          this.#forget(gone);
        });
        taker.ready(upstream);
      } else taker.failed(result);
      const next = this.#waiting.shift();
      if (next !== undefined) this.#open(next);
    });
  }
}
