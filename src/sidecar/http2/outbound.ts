import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import { localCaller } from '../http1/callers.ts';
import { lastingOf, toPeer } from '../http1/to-peer.ts';
import type { Upstream } from '../upstream.ts';
import { createHttp2Relay } from './listener.ts';

/** Below the minute after which a sidecar of ours ends an idle connection. */
const IDLE_MS = 45 * SECOND;

/** Requests of the local app, which speaks HTTP/2 without TLS, over shared mTLS connections to the peer. */
export function createHttp2Outbound(upstream: Upstream) {
  const { plane, circuit } = upstream;
  const http = createHttp2Relay(
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
    serve: (local: Socket) => http.serve({ ...localCaller(local, plane), outdated: () => false }),
    closeWith: http.closeWith,
  };
}
