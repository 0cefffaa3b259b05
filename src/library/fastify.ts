import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { PeerIdentity } from './peer.ts';
import { type RequestPeerOptions, requestPeer } from './request-peer.ts';

export type { PeerIdentity } from './peer.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null when nobody vouches for anyone. */
    readonly peer: PeerIdentity | null;
  }
}

/** A fastify plugin: `app.register(peerIdentity, { mode: 'direct' })`, then `request.peer`. */
export async function peerIdentity(app: FastifyInstance, options: RequestPeerOptions): Promise<void> {
  app.decorateRequest('peer', {
    getter(this: FastifyRequest) {
      return requestPeer(this.raw, options);
    },
  });
}

// For the whole app, not for a scope of its own.
Object.assign(peerIdentity, { [Symbol.for('skip-override')]: true });
