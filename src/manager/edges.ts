import { type Clock, MINUTE } from '../base/clock.ts';
import type { ProvenLeaf } from './renewal-proof.ts';

/** What a sidecar says of itself and one peer. */
interface Report {
  readonly direction: 'inbound' | 'outbound';
  /** SPIFFE id; of a caller without TLS its address. */
  readonly peer: string;
  readonly mtls: boolean;
  readonly connections: number;
}

/** Who talks to whom. */
export interface Edge {
  /** SPIFFE id of the caller; without TLS its address. */
  readonly from: string;
  /** SPIFFE id. */
  readonly to: string;
  readonly mtls: boolean;
  /** Open with mTLS; without TLS all since the sidecar started. */
  readonly connections: number;
}

export interface Edges {
  /** Takes the place of what this certificate reported before. @throws SL-API-002, SL-CERT-001 by whom nothing is taken */
  report(reporter: readonly Buffer[], edges: readonly Report[]): void;
  /** As the sidecars that were heard of lately say; those without TLS first, then by name. */
  list(): Edge[];
}

interface EdgesOptions {
  /** @throws SL-API-002, SL-CERT-001 */
  readonly prove: (chain: readonly Buffer[], use: 'reporting') => ProvenLeaf;
  readonly clock: Clock;
}

/** A sidecar repeats itself every two minutes. */
const KEPT = 5 * MINUTE;
const MAX_REPORTERS = 10_000;

/** In memory only: whoever still talks says so again. */
export function createEdges({ prove, clock }: EdgesOptions): Edges {
  const reports = new Map<string, { readonly self: string; readonly at: number; readonly edges: readonly Report[] }>();
  return {
    report(reporter, edges) {
      const { leaf, spiffeId } = prove(reporter, 'reporting');
      reports.delete(leaf.fingerprint256);
      reports.set(leaf.fingerprint256, { self: spiffeId.uri, at: clock.now(), edges });
      const [oldest] = reports.keys();
      if (reports.size > MAX_REPORTERS && oldest !== undefined) reports.delete(oldest);
    },
    list() {
      const sums = new Map<string, Edge & { readonly outbound: number; readonly inbound: number }>();
      for (const [key, { self, at, edges }] of reports) {
        if (clock.now() - at >= KEPT) reports.delete(key);
        else for (const edge of edges) add(sums, self, edge);
      }
      // Both ends tell of a connection between two sidecars: it is one.
      const all = [...sums.values()].map(({ from, to, mtls, outbound, inbound }) => ({
        ...{ from, to, mtls, connections: Math.max(outbound, inbound) },
      }));
      return all.sort((a, b) => Number(a.mtls) - Number(b.mtls) || compare(a.from, b.from) || compare(a.to, b.to));
    },
  };
}

function add(
  sums: Map<string, Edge & { readonly outbound: number; readonly inbound: number }>,
  self: string,
  { direction, peer, mtls, connections }: Report,
): void {
  const [from, to] = direction === 'outbound' ? [self, peer] : [peer, self];
  const key = `${mtls} ${from} ${to}`;
  const before = sums.get(key) ?? { from, to, mtls, connections: 0, outbound: 0, inbound: 0 };
  sums.set(key, { ...before, [direction]: before[direction] + connections });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
