import { DEFAULT_FAILED_HANDSHAKES } from '../options.ts';
import type { ServingOptions } from '../serving.ts';

/** What there may be of something in one of `count` workers; together they may have a few more. Memory is the process's. */
export function divided(options: ServingOptions, count: number): ServingOptions {
  const share = (limit: number) => Math.ceil(limit / count);
  const { limits } = options;
  const perCaller = limits.maxConnectionsPerCaller;
  return {
    ...options,
    limits: {
      ...limits,
      threads: count,
      maxConnections: share(limits.maxConnections),
      failedHandshakesPerSecond: share(limits.failedHandshakesPerSecond ?? DEFAULT_FAILED_HANDSHAKES),
      ...(perCaller === undefined ? {} : { maxConnectionsPerCaller: share(perCaller) }),
      ...(limits.maxDescriptors === undefined ? {} : { maxDescriptors: share(limits.maxDescriptors) }),
    },
    outbound: options.outbound.map((one) => ({
      ...one,
      limits: Object.fromEntries(Object.entries(one.limits ?? {}).map(([name, limit]) => [name, share(limit)])),
    })),
  };
}
