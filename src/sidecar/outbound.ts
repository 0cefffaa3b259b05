import type { Socket } from 'node:net';
import type { DataPlane } from './data-plane.ts';
import { BUSY_UPSTREAM, CROWDED_UPSTREAM, type OwnAnswer } from './http1/failures.ts';
import { createHttpOutbound } from './http1/outbound.ts';
import type { RelayContext } from './http1/relay-context.ts';
import { failureOf } from './http1/to-peer.ts';
import { bindListener, type Listener } from './listener.ts';
import { noRoom } from './no-room.ts';
import type { HostPort, OutboundOptions, UnixPath } from './options.ts';
import { answerSslRequest } from './ssl-request.ts';
import { startRelay } from './start-relay.ts';
import { createUpstream, type Upstream } from './upstream.ts';

/** One outbound, whichever way its callers come. */
export interface Outbound {
  readonly name: string;
  readonly upstream: Upstream;
  /** Where requests of HTTP/1.1 go; undefined where it takes none. */
  readonly requests: RelayContext | undefined;
  /** Takes a local connection that was admitted. */
  serve(local: Socket): void;
  /** As `serve`, for one that waits to be told whether it is connected. */
  tunnel(local: Socket, waiting: Waiting): void;
  /** The same port, which on close gives up what is kept for it. */
  closeWith(listener: Listener): Listener;
}

interface Waiting {
  /** Nothing of the caller was read before, and everything will be after. */
  readonly begun: () => void;
  /** Instead of `begun`; the caller is still there, and still counted as admitted. */
  readonly failed: (answer: OwnAnswer) => void;
}

/**
 * @param proxied requests may come by the forward proxy
 * @throws SL-CFG-003 (a pattern of `expect`)
 */
export async function createOutbound(options: OutboundOptions, plane: DataPlane, proxied: boolean): Promise<Outbound> {
  const upstream = createUpstream(options, plane);
  const { protocol } = options;
  const http = protocol === 'http' || (protocol === 'tcp' && proxied) ? createHttpOutbound(upstream) : undefined;
  const front = protocol === 'http2' ? await http2(upstream) : protocol === 'http' ? http : undefined;
  const keepers = [...new Set([front, http])].filter((one) => one !== undefined);
  return {
    name: options.name,
    upstream,
    requests: http?.context,
    serve: front?.serve ?? ((local) => serveTcp(upstream, local)),
    tunnel(local, waiting) {
      if (front === undefined) relayTo(upstream, local, waiting);
      else {
        waiting.begun();
        front.serve(local);
      }
    },
    closeWith: (listener) => keepers.reduce((bound, one) => one.closeWith(bound), listener),
  };
}

/**
 * Binds the local plaintext port of an upstream. No byte of the app leaves before the peer's SPIFFE id was checked on
 * the connection that carries it.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003
 */
export async function bindOutbound(
  outbound: Outbound,
  listen: HostPort | UnixPath,
  plane: DataPlane,
): Promise<Listener> {
  const { name } = outbound;
  const listener = await bindListener({
    what: `outbound "${name}"`,
    address: listen,
    socketMode: outbound.upstream.options.socketMode,
    // Not one byte of the app is read before there is somebody to send it to.
    pauseOnConnect: true,
    sharing: plane.sharing,
    accept(local) {
      if (admit(local, name, plane)) outbound.serve(local);
    },
  });
  return outbound.closeWith(listener);
}

/** Whether there is an identity and room; a connection that is not admitted is reset, and counted. */
export function admit(local: Socket, listener: string, plane: DataPlane): boolean {
  const known = plane.identity.current() !== undefined;
  const shortage = known ? plane.connections.admit() : undefined;
  if (known && shortage === undefined) return true;
  local.resetAndDestroy();
  if (shortage !== undefined) noRoom('outbound', listener, shortage, plane);
  else plane.metrics.refused.with({ direction: 'outbound', listener, reason: 'no_identity' }).value++;
  return false;
}

/** Loaded where it is needed. */
async function http2(upstream: Upstream) {
  return (await import('./http2/outbound.ts')).createHttp2Outbound(upstream);
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

function relayTo({ options, plane, circuit, connect }: Upstream, local: Socket, waiting?: Waiting): void {
  const refuse = (answer: OwnAnswer) => {
    circuit.connections.leave();
    if (waiting === undefined) {
      plane.connections.dismiss();
      local.resetAndDestroy();
    } else waiting.failed(answer);
  };
  if (!circuit.connections.enter()) {
    refuse(CROWDED_UPSTREAM);
    return;
  }
  if (!circuit.pending.enter()) {
    circuit.pending.leave();
    refuse(BUSY_UPSTREAM);
    return;
  }
  connect({
    ready(link, endpoint) {
      circuit.pending.leave();
      waiting?.begun();
      startRelay('outbound', options.name, link, local, plane, () => {
        circuit.connections.leave();
        endpoint.active--;
      });
    },
    failed(failure) {
      circuit.pending.leave();
      refuse(failureOf(failure));
    },
    left: () => local.readableEnded || local.destroyed,
  });
}
