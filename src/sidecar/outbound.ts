import type { Socket } from 'node:net';
import type { DataPlane } from './data-plane.ts';
import { createHttpOutbound } from './http1/outbound.ts';
import { bindListener, type Listener } from './listener.ts';
import type { OutboundOptions } from './options.ts';
import { startRelay } from './start-relay.ts';
import { createUpstream, openPeerLink, type Upstream } from './upstream.ts';

/**
 * Binds the local plaintext port of an upstream. No byte of the app leaves before the peer's SPIFFE id was checked on
 * that very connection.
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003 (a pattern of `expect`)
 */
export async function bindOutbound(options: OutboundOptions, plane: DataPlane): Promise<Listener> {
  const upstream = createUpstream(options, plane);
  const http = options.protocol === 'http' ? createHttpOutbound(upstream) : undefined;
  const listener = await bindListener({
    what: `outbound "${options.name}"`,
    address: options.listen,
    // Not one byte of the app is read before there is somebody to send it to.
    pauseOnConnect: true,
    accept: (local) => accept(local, upstream, http?.serve),
  });
  return http === undefined ? listener : http.closeWith(listener);
}

function accept(local: Socket, upstream: Upstream, serveHttp: ((local: Socket) => void) | undefined): void {
  const { options, plane } = upstream;
  const listener = options.name;
  const identity = plane.identity.current();
  if (identity === undefined || !plane.connections.admit()) {
    const reason = identity === undefined ? 'no_identity' : 'limit';
    plane.metrics.refused.with({ direction: 'outbound', listener, reason }).value++;
    local.resetAndDestroy();
    return;
  }
  if (serveHttp !== undefined) {
    serveHttp(local);
    return;
  }
  openPeerLink(upstream, { identity, left: () => local.readableEnded || local.destroyed }, (result) => {
    if ('link' in result) {
      startRelay('outbound', listener, result, local, plane);
    } else {
      plane.connections.dismiss();
      local.resetAndDestroy();
    }
  });
}
