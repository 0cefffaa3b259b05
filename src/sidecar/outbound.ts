import type { Socket } from 'node:net';
import { compileAllow, expand } from './authorize.ts';
import type { DataPlane } from './data-plane.ts';
import { bindListener, type Listener } from './listener.ts';
import type { OutboundOptions } from './options.ts';
import { startRelay } from './start-relay.ts';
import { createUpstream, type Upstream } from './upstream.ts';

/**
 * Binds the local plaintext port of an upstream. No byte of the app leaves before the peer's SPIFFE id was checked on
 * the connection that carries it.
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003 (a pattern of `expect`)
 */
export function bindOutbound(options: OutboundOptions, plane: DataPlane): Promise<Listener> {
  const patterns = options.expect.length === 0 ? [options.service] : options.expect;
  const expected = compileAllow(patterns, plane);
  const names = patterns.map((pattern) => expand(pattern, plane)).join(', ');
  const upstream = createUpstream({
    options,
    plane,
    check: (id) =>
      expected(id) ? undefined : { reason: 'peer_wrong_identity', detail: `it is ${id.uri}, expected ${names}` },
  });
  return bindListener({
    what: `outbound "${options.name}"`,
    address: options.listen,
    // Not one byte of the app is read before there is somebody to send it to.
    pauseOnConnect: true,
    accept: (local) => accept(local, options.name, upstream, plane),
  });
}

function accept(local: Socket, listener: string, upstream: Upstream, plane: DataPlane): void {
  const known = plane.identity.current() !== undefined;
  if (!known || !plane.connections.admit()) {
    const reason = known ? 'limit' : 'no_identity';
    plane.metrics.refused.with({ direction: 'outbound', listener, reason }).value++;
    local.resetAndDestroy();
    return;
  }
  upstream.connect({
    ready: (link) => startRelay('outbound', listener, link, local, plane),
    failed() {
      plane.connections.dismiss();
      local.resetAndDestroy();
    },
    left: () => local.readableEnded || local.destroyed,
  });
}
