import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import type { Upstream } from '../upstream.ts';
import { localCaller } from './callers.ts';
import { createHttpListener } from './listener.ts';
import { lastingOf, toPeer } from './to-peer.ts';

/** Below the minute after which a sidecar of ours ends an idle connection, and what other peers are known for. */
const IDLE_MS = 30 * SECOND;

/** Requests of the local app, over warm mTLS connections to the peer. */
export function createHttpOutbound(upstream: Upstream) {
  const { plane, circuit } = upstream;
  const http = createHttpListener(
    {
      ...toPeer(upstream, (peer) => lastingOf(peer, plane)),
      idleMs: IDLE_MS,
      maxConnections: circuit.limits.maxConnections,
      maxWaiting: circuit.limits.maxPending,
      refused: () => circuit.refused('maxPending'),
    },
    plane,
  );
  return {
    context: http.context,
    serve: (local: Socket) => http.serve(localCaller(local, plane)),
    closeWith: http.closeWith,
  };
}
