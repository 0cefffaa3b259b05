import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import { remoteName } from '../dial.ts';
import type { PeerLinkFailure } from '../endpoints/endpoint.ts';
import type { Listener } from '../listener.ts';
import { socketLink } from '../socket-link.ts';
import type { Upstream } from '../upstream.ts';
import type { UpstreamFailure } from './failures.ts';
import { createHttpListener } from './listener.ts';

/** Below the minute after which a sidecar of ours ends an idle connection, and what other peers are known for. */
const IDLE_MS = 30 * SECOND;
/** How long a connection to a peer under another root than ours is used. */
const OTHER_ROOT_MS = 5 * SECOND;

/** Requests of the local app, over warm mTLS connections to the peer. */
export function createHttpOutbound(upstream: Upstream) {
  const { options, plane, endpoints, circuit } = upstream;
  const http = createHttpListener(
    {
      direction: 'outbound',
      listener: options.name,
      idleMs: IDLE_MS,
      maxConnections: circuit.limits.maxConnections,
      maxWaiting: circuit.limits.maxPending,
      refused: () => circuit.refused('maxPending'),
      entered: () => circuit.requests.enter(),
      left: () => circuit.requests.leave(),
      pick: (beside) => endpoints.pick(beside === undefined ? undefined : new Set([beside])),
      open: (load, done) => {
        let ours = false;
        upstream.connect(
          {
            left: () => ours,
            failed: (failure) => done(failureOf(failure)),
            ready: ({ link, identity, peer }, endpoint) => {
              // From here on it counts requests.
              endpoint.active--;
              const opened = plane.clock.now();
              // While a root follows another, ours is of the new one first: the peer's next certificate is looked for.
              const ofOtherRoot = peer.root !== identity.material.root.fingerprint256;
              const old = () => ofOtherRoot && plane.clock.now() - opened > OTHER_ROOT_MS;
              done({
                link,
                load: endpoint,
                usable: () => plane.identity.current() === identity && !old(),
                expiresAt: peer.leaf.notAfter,
                leaving: () => {
                  ours = true;
                },
              });
            },
          },
          load,
        );
      },
    },
    plane,
  );
  return {
    context: http.context,
    serve(local: Socket): void {
      http.serve({
        link: socketLink(local, plane),
        callerFields: '',
        denies: undefined,
        kind: undefined,
        peer: undefined,
        self: undefined,
        tls: undefined,
        local: remoteName(local),
      });
    },
    closeWith: (listener: Listener) => http.closeWith(listener),
  };
}

/** Why there is no connection, as a request is told. */
export function failureOf({ stage, code }: PeerLinkFailure): UpstreamFailure {
  switch (stage) {
    case 'identity':
      return { status: 503, reason: 'no_identity', code, sentence: 'this sidecar has no identity yet' };
    case 'dial':
      return { status: 503, reason: 'unreachable', code, sentence: 'the peer cannot be reached' };
    case 'handshake':
      return { status: 502, reason: 'handshake_failed', code, sentence: 'no mTLS connection to the peer' };
  }
}
