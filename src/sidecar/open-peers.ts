import type { TLSSocket } from 'node:tls';
import type { Logger } from '../base/log.ts';
import type { PeerVerdict } from '../pki/peer.ts';
import type { Connections } from './connections.ts';
import type { IdentityReader } from './identity.ts';
import type { PeerJudge } from './judge.ts';
import type { DataPlaneMetrics, Direction } from './metrics.ts';
import type { VerifiedPeer } from './peer-link.ts';

interface OpenPeer {
  readonly direction: Direction;
  readonly listener: string;
  readonly verified: VerifiedPeer;
}

/** As much of the data plane as decides and closes. */
interface Judging {
  readonly identity: IdentityReader;
  readonly judge: PeerJudge;
  readonly connections: Connections;
  readonly metrics: DataPlaneMetrics;
  readonly log: Logger;
}

/** Every open mTLS connection, so that those whose peer is no longer accepted can be closed. */
export interface OpenPeers {
  add(socket: TLSSocket, peer: OpenPeer): void;
  /** Judges every peer again, as of now, and cuts the connections of those that are refused. */
  reauthorise(plane: Judging): void;
}

export function createOpenPeers(): OpenPeers {
  const open = new Map<TLSSocket, OpenPeer>();
  return {
    add(socket, peer) {
      open.set(socket, peer);
      socket.once('close', () => open.delete(socket));
    },
    reauthorise(plane) {
      const identity = plane.identity.current();
      if (identity === undefined) return;
      const verdicts = new Map<string, PeerVerdict>();
      for (const [socket, peer] of [...open]) {
        if (socket.destroyed) continue;
        const { direction, verified } = peer;
        const key = `${direction} ${verified.peer.leaf.fingerprint256}`;
        const verdict =
          verdicts.get(key) ?? plane.judge(socket, identity, direction === 'inbound' ? 'client' : 'server');
        verdicts.set(key, verdict);
        // A connection may outlive the dates it began with: its age is bounded elsewhere.
        if (verdict.ok || verdict.reason === 'expired' || verdict.reason === 'issuer_expired') continue;
        cut(socket, peer, verdict, plane);
      }
    },
  };
}

function cut(
  socket: TLSSocket,
  { direction, listener, verified: { peer } }: OpenPeer,
  { reason, detail }: { readonly reason: string; readonly detail: string },
  plane: Judging,
): void {
  const id = peer.spiffeId.uri;
  const serial = peer.leaf.serial;
  const closed = plane.connections.cut(direction, id, serial);
  // Kept for requests to come, or for streams: no connection of an app was on it.
  if (closed === 0) plane.metrics.closed.with({ direction, listener, reason: 'reauth' }).value++;
  socket.destroy();
  plane.log.warn(
    { event: 'peer_cut', reason, direction, listener, peer: { address: peer.address, id, serial }, why: detail },
    `${direction} "${listener}": closed an open connection with ${id}: ${detail}`,
  );
}
