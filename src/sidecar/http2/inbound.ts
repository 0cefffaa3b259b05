import type { Socket } from 'node:net';
import { MINUTE } from '../../base/clock.ts';
import type { DataPlane } from '../data-plane.ts';
import { targetName } from '../dial.ts';
import { plaintextCaller, verifiedCaller } from '../http1/callers.ts';
import { toApp } from '../http1/to-app.ts';
import type { InboundOptions } from '../options.ts';
import type { PeerLink } from '../peer-link.ts';
import type { ListenerPolicy } from '../policy.ts';
import { Bridge, type OpenClient } from './bridge.ts';
import { createHttp2Relay, createHttp2Server, type Http2Connection } from './listener.ts';
import { outdated } from './outdated.ts';

/** An app may take long to speak, and a connection to it costs next to nothing. */
const IDLE_MS = MINUTE;

/** Requests of verified and allowed callers, over HTTP/2 without TLS to the app. */
export function createHttp2Inbound(options: InboundOptions, policy: ListenerPolicy, plane: DataPlane) {
  const http = createHttp2Relay({ ...toApp(options, plane), idleMs: IDLE_MS }, plane);
  const target = targetName(options.target);
  const local = () => target;
  return {
    serve: (caller: PeerLink) => http.serve(connectionOf(caller, local, policy, plane)),
    servePlaintext: (raw: Socket) => http.serve({ ...plaintextCaller(raw, local, plane), outdated: () => false }),
    closeWith: http.closeWith,
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
  const target = targetName(options.target);
  const local = () => target;
  return (caller) => server.serve(connectionOf(caller, local, policy, plane));
}

function connectionOf(
  caller: PeerLink,
  local: () => string,
  policy: ListenerPolicy,
  plane: DataPlane,
): Http2Connection {
  return { ...verifiedCaller(caller, local, policy), outdated: () => outdated(caller, plane) };
}
