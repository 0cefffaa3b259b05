import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import type { DataPlane } from '../data-plane.ts';
import { targetName } from '../dial.ts';
import type { InboundOptions } from '../options.ts';
import type { PeerLink } from '../peer-link.ts';
import type { ListenerPolicy } from '../policy.ts';
import { plaintextCaller, verifiedCaller } from './callers.ts';
import { createHttpListener } from './listener.ts';
import { toApp } from './to-app.ts';

/** Below the five seconds after which a Node server closes an idle connection, the shortest that is common. */
const IDLE_MS = 4 * SECOND;

/** Requests of verified and allowed callers, over warm plaintext connections to the app. */
export function createHttpInbound(options: InboundOptions, policy: ListenerPolicy, plane: DataPlane) {
  const http = createHttpListener({ ...toApp(options, plane), idleMs: IDLE_MS }, plane);
  const target = targetName(options.target);
  const local = () => target;
  return {
    serve: (caller: PeerLink) => http.serve(verifiedCaller(caller, local, policy)),
    servePlaintext: (raw: Socket) => http.serve(plaintextCaller(raw, local, plane)),
    open: http.open,
    closeWith: http.closeWith,
  };
}
