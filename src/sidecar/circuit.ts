import type { DataPlane } from './data-plane.ts';
import { DEFAULT_UPSTREAM_LIMITS, type OutboundOptions, type UpstreamLimits } from './options.ts';

/** Counts of what an upstream takes, each with its limit. What enters leaves once. */
export interface Circuit {
  readonly limits: UpstreamLimits;
  readonly connections: Gate;
  readonly pending: Gate;
  readonly requests: Gate;
  /** Counts and tells that one was refused; the gates do so themselves. */
  refused(limit: keyof UpstreamLimits): void;
}

interface Gate {
  /** False when it is one too many. Counted in any case. */
  enter(): boolean;
  leave(): void;
}

export function createCircuit(options: OutboundOptions, plane: DataPlane): Circuit {
  const limits = { ...DEFAULT_UPSTREAM_LIMITS, ...options.limits };
  const listener = options.name;
  const refused = (limit: keyof UpstreamLimits) => {
    plane.metrics.upstreamLimited.with({ listener, limit }).value++;
    plane.refusals.warn(
      `${listener} ${limit}`,
      {
        event: 'upstream_limited',
        code: 'SL-LIMIT-002',
        reason: limit,
        listener,
        limit: limits[limit],
        fix: `find out why ${options.service} is slow, or raise limits.${limit} of outbound "${listener}"`,
      },
      `outbound "${listener}": refused, since ${limits[limit]} ${SUBJECTS[limit]}`,
    );
  };
  const gate = (limit: keyof UpstreamLimits): Gate => {
    let inside = 0;
    return {
      enter() {
        inside++;
        if (inside <= limits[limit]) return true;
        refused(limit);
        return false;
      },
      leave() {
        inside--;
      },
    };
  };
  return {
    limits,
    connections: gate('maxConnections'),
    pending: gate('maxPending'),
    requests: gate('maxRequests'),
    refused,
  };
}

const SUBJECTS: Readonly<Record<keyof UpstreamLimits, string>> = {
  maxConnections: 'connections to it are open',
  maxPending: 'wait for a connection to it',
  maxRequests: 'requests to it are under way',
};
