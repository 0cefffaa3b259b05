import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import { remoteName } from '../dial.ts';
import { failureOf } from '../http1/outbound.ts';
import type { Listener } from '../listener.ts';
import { socketLink } from '../socket-link.ts';
import type { Upstream } from '../upstream.ts';
import { createHttp2Relay } from './listener.ts';
import { outdated } from './outdated.ts';

/** Below the minute after which a sidecar of ours ends an idle connection. */
const IDLE_MS = 45 * SECOND;

/** Requests of the local app, which speaks HTTP/2 without TLS, over shared mTLS connections to the peer. */
export function createHttp2Outbound(upstream: Upstream) {
  const { options, plane, endpoints, circuit } = upstream;
  const http = createHttp2Relay(
    {
      direction: 'outbound',
      listener: options.name,
      idleMs: IDLE_MS,
      entered: () => circuit.requests.enter(),
      left: () => circuit.requests.leave(),
      pick: (beside) => endpoints.pick(beside === undefined ? undefined : new Set([beside])),
      open: (load, done) => {
        let ours = false;
        upstream.connect(
          {
            left: () => ours,
            failed: (failure) => done(failureOf(failure)),
            ready: (peer, endpoint) => {
              // From here on it counts requests.
              endpoint.active--;
              done({
                link: peer.link,
                load: endpoint,
                usable: () => !outdated(peer, plane),
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
    serve(local: Socket): void {
      http.serve({
        link: socketLink(local, plane),
        callerFields: '',
        denies: undefined,
        outdated: () => false,
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
