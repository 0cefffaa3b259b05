import { type EdgeReport, MAX_EDGES } from '../api/wire-edges.ts';
import { type Clock, MINUTE, type Random, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import type { IdentityReader } from './identity.ts';
import type { PlaintextReport } from './serving.ts';

/** Open mTLS connections by `inbound` or `outbound`, a space, and the SPIFFE id of the peer. */
export type PeerCounts = ReadonlyMap<string, number>;

interface EdgesOutOptions {
  readonly peers: () => PeerCounts | Promise<PeerCounts>;
  readonly plaintext: () => PlaintextReport | Promise<PlaintextReport>;
  readonly tell: (shown: IdentityMaterial, edges: readonly EdgeReport[]) => Promise<void>;
  readonly reader: IdentityReader;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const EVERY_MS = 5 * SECOND;
const REPEAT_MS = 2 * MINUTE;
/** Callers without TLS are told of for so long. */
const RECENT_MS = 15 * MINUTE;
/** The manager takes 16 KiB. */
const MAX_BYTES = 12 * 1024;

/** Tells the manager whom this sidecar talks to, when that changed and now and then. Resolves when the signal aborts. */
export async function reportEdges(options: EdgesOutOptions): Promise<void> {
  const { peers, plaintext, tell, reader, clock, random, log, signal } = options;
  let told = { text: '[]', at: Number.POSITIVE_INFINITY };
  try {
    for (;;) {
      await clock.sleep(EVERY_MS * (0.75 + random() / 2), signal);
      const material = reader.current()?.material;
      if (material === undefined) continue;
      const edges = edgesOf(await peers(), await plaintext(), clock.now());
      const text = JSON.stringify(edges);
      if (text === told.text && clock.now() - told.at < REPEAT_MS) continue;
      try {
        await tell(material, edges);
        told = { text, at: clock.now() };
      } catch (error) {
        signal.throwIfAborted();
        if (!isSidelockError(error)) throw error;
        log.debug({ event: 'edges_failed', code: error.code }, 'the manager did not take whom we talk to');
      }
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}

function edgesOf(peers: PeerCounts, { permissive }: PlaintextReport, now: number): EdgeReport[] {
  const clear = permissive
    .flatMap(({ callers }) => callers)
    .filter(({ lastSeen }) => now - Date.parse(lastSeen) < RECENT_MS)
    .map(({ address, connections }): EdgeReport => ({ direction: 'inbound', peer: address, mtls: false, connections }));
  const mtls = [...peers].sort().map(([key, connections]): EdgeReport => {
    const [direction, peer = ''] = key.split(' ');
    return { direction: direction === 'inbound' ? 'inbound' : 'outbound', peer, mtls: true, connections };
  });
  const kept: EdgeReport[] = [];
  let bytes = 0;
  for (const edge of [...clear, ...mtls]) {
    bytes += Buffer.byteLength(JSON.stringify(edge)) + 1;
    if (kept.length === MAX_EDGES || bytes > MAX_BYTES) break;
    kept.push(edge);
  }
  return kept;
}
