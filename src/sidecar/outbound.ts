import type { Socket } from 'node:net';
import type { DataPlane } from './data-plane.ts';
import { createHttpOutbound } from './http1/outbound.ts';
import { bindListener, type Listener } from './listener.ts';
import type { OutboundOptions } from './options.ts';
import { answerSslRequest } from './ssl-request.ts';
import { startRelay } from './start-relay.ts';
import { createUpstream, type Upstream } from './upstream.ts';

/**
 * Binds the local plaintext port of an upstream. No byte of the app leaves before the peer's SPIFFE id was checked on
 * the connection that carries it.
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003 (a pattern of `expect`)
 */
export async function bindOutbound(options: OutboundOptions, plane: DataPlane): Promise<OutboundListener> {
  const upstream = createUpstream(options, plane);
  const http = await frontOf(upstream);
  const serve = http?.serve ?? ((local: Socket) => serveTcp(upstream, local));
  const listener = await bindListener({
    what: `outbound "${options.name}"`,
    address: options.listen,
    socketMode: options.socketMode,
    // Not one byte of the app is read before there is somebody to send it to.
    pauseOnConnect: true,
    accept: (local) => accept(local, options.name, serve, plane),
  });
  return { ...(http === undefined ? listener : http.closeWith(listener)), upstream };
}

interface OutboundListener extends Listener {
  readonly upstream: Upstream;
}

/** What reads the requests; undefined where bytes pass as they are. HTTP/2 is loaded where it is needed. */
async function frontOf(upstream: Upstream) {
  switch (upstream.options.protocol) {
    case 'tcp':
      return undefined;
    case 'http':
      return createHttpOutbound(upstream);
    case 'http2':
      return (await import('./http2/outbound.ts')).createHttp2Outbound(upstream);
  }
}

function accept(local: Socket, listener: string, serve: (local: Socket) => void, plane: DataPlane): void {
  const known = plane.identity.current() !== undefined;
  if (known && plane.connections.admit()) {
    serve(local);
    return;
  }
  plane.metrics.refused.with({ direction: 'outbound', listener, reason: known ? 'limit' : 'no_identity' }).value++;
  local.resetAndDestroy();
}

function serveTcp(upstream: Upstream, local: Socket): void {
  const { options, plane } = upstream;
  if (options.answerSslRequest !== true) {
    relayTo(upstream, local);
    return;
  }
  answerSslRequest(local, plane.limits.handshakeTimeoutMs, (alive) => {
    if (alive) relayTo(upstream, local);
    else {
      plane.connections.dismiss();
      local.destroy();
    }
  });
}

function relayTo({ options, plane, circuit, connect }: Upstream, local: Socket): void {
  const refuse = () => {
    circuit.connections.leave();
    plane.connections.dismiss();
    local.resetAndDestroy();
  };
  if (!circuit.connections.enter()) {
    refuse();
    return;
  }
  if (!circuit.pending.enter()) {
    circuit.pending.leave();
    refuse();
    return;
  }
  connect({
    ready(link, endpoint) {
      circuit.pending.leave();
      startRelay('outbound', options.name, link, local, plane, () => {
        circuit.connections.leave();
        endpoint.active--;
      });
    },
    failed() {
      circuit.pending.leave();
      refuse();
    },
    left: () => local.readableEnded || local.destroyed,
  });
}
