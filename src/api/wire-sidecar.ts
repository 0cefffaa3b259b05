import * as z from 'zod';

/** What the admin endpoints of a sidecar answer, as the command line reads them. Times are RFC 3339. */

const seenCaller = z.object({
  /** SPIFFE id. */
  id: z.string(),
  connections: z.number(),
  /** Connections or requests that the rules do not allow. */
  audited: z.number(),
  /** `path` as a rule would say it: the path itself when it has one segment, else `/first-segment/*`. */
  requests: z.array(z.object({ method: z.string(), path: z.string(), count: z.number() })),
  /** Requests that no rule can name: ambiguous paths, odd methods, and kinds beyond the limit. */
  other: z.number(),
  firstSeen: z.string(),
  lastSeen: z.string(),
});
export type SeenCaller = z.infer<typeof seenCaller>;

const listenerPolicy = z.object({
  listener: z.string(),
  policy: z.enum(['enforce', 'audit']),
  since: z.string(),
  /** Recorded under `audit` only. */
  callers: z.array(seenCaller),
  /** Connections and requests of callers beyond the limit. */
  other: z.number(),
});
export type ListenerPolicyReport = z.infer<typeof listenerPolicy>;

/** GET /policy */
export const policyAnswer = z.object({
  trustDomain: z.string(),
  namespace: z.string(),
  listeners: z.array(listenerPolicy),
});
export type PolicyAnswer = z.infer<typeof policyAnswer>;

const plaintextCaller = z.object({
  /** Without port. */
  address: z.string(),
  connections: z.number(),
  firstSeen: z.string(),
  lastSeen: z.string(),
});
export type PlaintextCaller = z.infer<typeof plaintextCaller>;

const plaintextListener = z.object({
  listener: z.string(),
  /** Since when it is permissive and callers are recorded: since the sidecar started. */
  since: z.string(),
  callers: z.array(plaintextCaller),
  /** Connections of callers beyond the limit. */
  other: z.object({ connections: z.number(), lastSeen: z.string().optional() }),
  /** Connections without TLS that are open now. */
  open: z.number(),
});
export type PlaintextListenerReport = Omit<z.infer<typeof plaintextListener>, 'other'> & {
  readonly other: { readonly connections: number; readonly lastSeen?: string | undefined };
};

/** GET /plaintext: the permissive listeners, and the names of the strict ones. */
export const plaintextAnswer = z.object({
  now: z.string(),
  strict: z.array(z.string()),
  permissive: z.array(plaintextListener),
});
export type PlaintextAnswer = Omit<z.infer<typeof plaintextAnswer>, 'permissive'> & {
  readonly permissive: readonly PlaintextListenerReport[];
};

/** GET /readyz, as much as is asked of it: why it is not ready. */
export const readyAnswer = z.object({ blockers: z.array(z.object({ name: z.string(), why: z.string() })) });

/** GET /identity, as much as is asked of it. */
export const identityShown = z.object({
  spiffeId: z.string(),
  serial: z.string(),
  notBefore: z.string(),
  notAfter: z.string(),
  /** Hash of its trust bundle. */
  trustGeneration: z.string(),
});
export type IdentityShown = z.infer<typeof identityShown>;
