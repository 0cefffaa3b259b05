import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { DataPlane } from './data-plane.ts';
import { remoteName } from './dial.ts';
import type { Identity } from './identity.ts';
import type { Direction } from './metrics.ts';
import { relay } from './relay.ts';
import type { VerifiedPeer } from './secure.ts';
import { socketLink } from './socket-link.ts';

interface Pair {
  readonly direction: Direction;
  readonly listener: string;
  readonly peer: VerifiedPeer;
  readonly identity: Identity;
  readonly secured: TLSSocket;
  readonly plain: Socket;
}

/** Joins a verified TLS connection and a plaintext socket, and registers the pair. */
export function startRelay(pair: Pair, plane: DataPlane): void {
  const { direction, listener, peer, identity, secured, plain } = pair;
  plane.connections.add({
    direction,
    listener,
    peer: { address: peer.address, id: peer.spiffeId.uri, serial: peer.leaf.serial },
    self: { id: identity.spiffeId, serial: identity.serial, generation: identity.generation },
    local: remoteName(plain),
    tls: {
      version: secured.getProtocol() ?? 'unknown',
      cipher: secured.getCipher().name,
      group: direction === 'outbound' ? groupOf(secured) : undefined,
    },
    start: (received, sent, closed) =>
      relay(socketLink(secured, plane), socketLink(plain, plane), { received, sent, closed }),
  });
}

/** Node tells the key exchange group on the client side only. */
function groupOf(socket: TLSSocket): string | undefined {
  const info = socket.getEphemeralKeyInfo();
  return info !== null && 'name' in info && typeof info.name === 'string' ? info.name : undefined;
}
