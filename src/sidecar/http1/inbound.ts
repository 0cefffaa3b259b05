import type { Socket } from 'node:net';
import { SECOND } from '../../base/clock.ts';
import type { DataPlane } from '../data-plane.ts';
import { dial, remoteName, targetName } from '../dial.ts';
import type { Listener } from '../listener.ts';
import { onlyLoad } from '../load.ts';
import type { InboundOptions } from '../options.ts';
import type { PeerLink } from '../peer-link.ts';
import { plaintextInfo } from '../permissive.ts';
import type { ListenerPolicy } from '../policy.ts';
import { socketLink } from '../socket-link.ts';
import { targetDown } from '../target.ts';
import { callerFields, plaintextFields } from './caller-fields.ts';
import { createHttpListener } from './listener.ts';

/** Below the five seconds after which a Node server closes an idle connection, the shortest that is common. */
const IDLE_MS = 4 * SECOND;

/** Requests of verified and allowed callers, over warm plaintext connections to the app. */
export function createHttpInbound(options: InboundOptions, policy: ListenerPolicy, plane: DataPlane) {
  const load = onlyLoad();
  const http = createHttpListener(
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
    serve(caller: PeerLink): void {
      const { link, kind, peer, identity, tls } = caller;
      http.serve({
        link,
        callerFields: callerFields(caller),
        denies: (method, target) => policy.request(caller, method, target),
        kind,
        peer: { address: peer.address, id: peer.spiffeId.uri, serial: peer.leaf.serial },
        self: { id: identity.spiffeId, serial: identity.serial, generation: identity.generation },
        local,
        tls,
      });
    },
    /** Requests of a caller without TLS, whom nobody vouches for. */
    servePlaintext(raw: Socket): void {
      http.serve({
        ...plaintextInfo(raw, local),
        link: socketLink(raw, plane),
        callerFields: plaintextFields(remoteName(raw)),
        denies: undefined,
      });
    },
    open: http.open,
    closeWith: (listener: Listener) => http.closeWith(listener),
  };
}
