import { SECOND } from '../../base/clock.ts';
import type { Listener } from '../listener.ts';

interface SweptPool {
  sweep(): void;
  close(): void;
  /** Closed, and nothing of it is left. */
  readonly over: boolean;
}

/** Sweeps a pool until it is over. Gives the same port back, which on close gives up the pool's connections too. */
export function pooled(pool: SweptPool): (bound: Listener) => Listener {
  const sweeper = setInterval(() => {
    pool.sweep();
    if (pool.over) clearInterval(sweeper);
  }, SECOND).unref();
  return (bound) => ({
    address: bound.address,
    where: bound.where,
    serve: () => bound.serve(),
    close() {
      bound.close();
      pool.close();
    },
  });
}
