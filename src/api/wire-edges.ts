import { z } from 'zod';

/** Of one sidecar in one report; the rest is left out. */
export const MAX_EDGES = 64;

const edge = z.strictObject({
  /** Whether the peer called, or was called. */
  direction: z.enum(['inbound', 'outbound']),
  /** SPIFFE id; of a caller without TLS its address. */
  peer: z.string().min(1).max(2048),
  mtls: z.boolean(),
  /** Open with mTLS now; without TLS all since the sidecar started. */
  connections: z.number().int().nonnegative(),
});

/** POST /v1/edges, over mTLS: whom the caller talks to. It can say so of itself alone. */
export const edgesRequest = z.strictObject({ edges: z.array(edge).max(MAX_EDGES) });
export type EdgeReport = z.infer<typeof edge>;

export const edgesAnswer = z.strictObject({ time: z.number().int().nonnegative() });
