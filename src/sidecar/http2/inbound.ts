import type { Socket } from 'node:net';
import type { DataPlane } from '../data-plane.ts';
import { dial, remoteName, targetName } from '../dial.ts';
import { callerFields, plaintextFields } from '../http1/caller-fields.ts';
import type { Listener } from '../listener.ts';
import { onlyLoad } from '../load.ts';
import type { InboundOptions } from '../options.ts';
import type { PeerLink } from '../peer-link.ts';
import { plaintextInfo } from '../permissive.ts';
import type { ListenerPolicy } from '../policy.ts';
import { socketLink } from '../socket-link.ts';
import { targetDown } from '../target.ts';
import { Bridge, type OpenClient } from './bridge.ts';
import { createHttp2Relay, createHttp2Server, type Http2Connection } from './listener.ts';
import { outdated } from './outdated.ts';

/** An app may take long to speak, and a connection to it costs next to nothing. */
const IDLE_MS = 60_000;

/** Requests of verified and allowed callers, over HTTP/2 without TLS to the app. */
export function createHttp2Inbound(options: InboundOptions, policy: ListenerPolicy, plane: DataPlane) {
  const load = onlyLoad();
  const http = createHttp2Relay(
    {
      direction: 'inbound',
      listener: options.name,
      idleMs: IDLE_MS,
      pick: (beside) => (beside === undefined ? load : undefined),
      open: (_load, done) => {
        const app = dial(options.target, plane.limits.connectTimeoutMs, (failure) => {
          if (failure === undefined) return done({ link: socketLink(app, plane), load });
          targetDown(failure, options, plane);
          done({ status: 503, reason: 'unreachable', code: 'SL-APP-001', sentence: 'the app does not answer' });
        });
      },
    },
    plane,
  );
  const local = targetName(options.target);
  return {
    serve: (caller: PeerLink) => http.serve(connectionOf(caller, local, policy, plane)),
    /** Requests of a caller without TLS, whom nobody vouches for. */
    servePlaintext(raw: Socket): void {
      http.serve({
        ...plaintextInfo(raw, local),
        link: socketLink(raw, plane),
        callerFields: plaintextFields(remoteName(raw)),
        denies: undefined,
        outdated: () => false,
      });
    },
    closeWith: (listener: Listener) => http.closeWith(listener),
  };
}

/** Callers of HTTP/2 for an app of HTTP/1.1. */
export function createHttp2Bridge(
  options: InboundOptions,
  policy: ListenerPolicy,
  plane: DataPlane,
  open: OpenClient,
): (caller: PeerLink) => void {
  const name = { direction: 'inbound', listener: options.name } as const;
  const server = createHttp2Server(name, (request) => new Bridge(request, open), plane);
  const local = targetName(options.target);
  return (caller) => server.serve(connectionOf(caller, local, policy, plane));
}

function connectionOf(caller: PeerLink, local: string, policy: ListenerPolicy, plane: DataPlane): Http2Connection {
  const { link, kind, peer, identity, tls } = caller;
  return {
    link,
    callerFields: callerFields(caller),
    denies: (method, target) => policy.request(caller, method, target),
    outdated: () => outdated(caller, plane),
    kind,
    peer: { address: peer.address, id: peer.spiffeId.uri, serial: peer.leaf.serial },
    self: { id: identity.spiffeId, serial: identity.serial, generation: identity.generation },
    local,
    tls,
  };
}
