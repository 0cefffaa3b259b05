import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PeerIdentity } from './peer.ts';
import { type RequestPeerOptions, requestPeer } from './request-peer.ts';

export type { PeerIdentity } from './peer.ts';

declare module 'node:http' {
  interface IncomingMessage {
    /** Who calls; null when nobody vouches for anyone. Set by peerIdentity(). */
    peer?: PeerIdentity | null;
  }
}

/** Express middleware, and of anything else that calls `(request, response, next)`: sets `request.peer`. */
export function peerIdentity(options: RequestPeerOptions) {
  return (request: IncomingMessage, _response: ServerResponse, next: () => void): void => {
    request.peer = requestPeer(request, options);
    next();
  };
}
