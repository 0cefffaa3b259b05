import type { Socket } from 'node:net';
import { endOfCertificates } from './age.ts';
import type { DataPlane } from './data-plane.ts';
import { remoteName } from './dial.ts';
import type { Direction } from './metrics.ts';
import type { PeerLink } from './peer-link.ts';
import { relay } from './relay.ts';
import { socketLink } from './socket-link.ts';

/** Joins a link to a verified peer and an open plaintext socket, and registers the pair; `over` is called at its end. */
export function startRelay(
  direction: Direction,
  listener: string,
  peer: PeerLink,
  plain: Socket,
  plane: DataPlane,
  over?: () => void,
): void {
  plane.connections.add({
    direction,
    listener,
    ...peerInfo(peer, () => remoteName(plain)),
    start: (received, sent, closed) =>
      relay(peer.link, socketLink(plain, plane), {
        received,
        caller: direction === 'inbound' ? 'first' : 'second',
        sent,
        closed(error) {
          closed(error);
          over?.();
        },
      }),
  });
}

/** What is told of a connection with a verified peer. */
export function peerInfo({ kind, peer, identity, tls }: PeerLink, local: () => string) {
  return {
    kind,
    peer: { address: peer.address, id: peer.spiffeId.uri, serial: peer.leaf.serial },
    self: { id: identity.spiffeId, serial: identity.serial, generation: identity.generation },
    local,
    tls,
    notAfter: endOfCertificates({ identity, peer }),
  };
}
