import type { Random } from '../base/clock.ts';

export interface AgeLimits {
  /** Of any connection, ms; none unless given. */
  readonly maxLifetimeMs?: number | undefined;
  /** How long what is under way may go on after that, or after the end of a certificate, ms. */
  readonly graceMs: number;
  /** So that connections that began together do not end together. */
  readonly random: Random;
}

/** ms since the epoch; infinity for never. */
export interface Age {
  /** From when it makes room for a newer one, as soon as that costs nobody anything. */
  readonly retireAt: number;
  /** When it is broken off, whatever it does. */
  readonly endAt: number;
}

/**
 * How long a connection lasts that begins now.
 * @param notAfter the end of the certificates it was made with, ms since the epoch
 * @param orderly whether what is on it can be told to go elsewhere, as requests can
 */
export function ageOf(
  {
    now,
    notAfter,
    orderly,
  }: { readonly now: number; readonly notAfter: number | undefined; readonly orderly: boolean },
  { maxLifetimeMs = Number.POSITIVE_INFINITY, graceMs, random }: AgeLimits,
): Age {
  const end = notAfter ?? Number.POSITIVE_INFINITY;
  const span = Math.min(maxLifetimeMs, end - now);
  return {
    retireAt: now + span * (0.8 + 0.1 * random()),
    endAt: Math.min(now + maxLifetimeMs + (orderly ? graceMs : 0), end + graceMs),
  };
}

/** When the first of the two certificates of a connection ends. */
export function endOfCertificates({
  identity,
  peer,
}: {
  readonly identity: { readonly notAfter: number };
  readonly peer: { readonly leaf: { readonly notAfter: number } };
}): number {
  return Math.min(identity.notAfter, peer.leaf.notAfter);
}
