import { isIP, type Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { SpiffeId } from '../pki/names.ts';
import { compileAllow, expand } from './authorize.ts';
import type { DataPlane } from './data-plane.ts';
import { type DialFailure, dial, targetName } from './dial.ts';
import type { HandshakeReason } from './handshake.ts';
import type { Identity } from './identity.ts';
import { bindListener, type Listener } from './listener.ts';
import type { OutboundOptions } from './options.ts';
import { reportHandshakeFailure } from './report.ts';
import { type PeerLink, secure } from './secure.ts';
import { startRelay } from './start-relay.ts';

interface Upstream {
  readonly options: OutboundOptions;
  readonly check: (id: SpiffeId) => { reason: HandshakeReason; detail: string } | undefined;
  readonly plane: DataPlane;
}

/**
 * Binds the local plaintext port of an upstream. No byte of the app leaves before the peer's SPIFFE id was checked on
 * that very connection.
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003 (a pattern of `expect`)
 */
export function bindOutbound(options: OutboundOptions, plane: DataPlane): Promise<Listener> {
  const patterns = options.expect.length === 0 ? [options.service] : options.expect;
  const expected = compileAllow(patterns, plane);
  const names = patterns.map((pattern) => expand(pattern, plane)).join(', ');
  const upstream: Upstream = {
    options,
    plane,
    check: (id) =>
      expected(id) ? undefined : { reason: 'peer_wrong_identity', detail: `it is ${id.uri}, expected ${names}` },
  };
  return bindListener({
    what: `outbound "${options.name}"`,
    address: options.listen,
    // Not one byte of the app is read before there is somebody to send it to.
    pauseOnConnect: true,
    accept: (local) => accept(local, upstream),
  });
}

function accept(local: Socket, upstream: Upstream): void {
  const { options, plane } = upstream;
  const listener = options.name;
  const identity = plane.identity.current();
  if (identity === undefined || !plane.connections.admit()) {
    const reason = identity === undefined ? 'no_identity' : 'limit';
    plane.metrics.refused.with({ direction: 'outbound', listener, reason }).value++;
    local.resetAndDestroy();
    return;
  }
  const raw = dial(options.address, plane.limits.connectTimeoutMs, (failure) => {
    if (failure === undefined) {
      handshake(raw, local, identity, upstream);
    } else {
      refuse(local, plane);
      upstreamDown(failure, upstream);
    }
  });
}

function handshake(raw: Socket, local: Socket, identity: Identity, upstream: Upstream): void {
  const { options, plane, check } = upstream;
  const { host } = options.address;
  const socket = tlsConnect({
    socket: raw,
    secureContext: plane.contexts.of(identity.material, 'client'),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    // The verdict is taken in `secure`, which explains it; nothing is sent before.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  secure(
    {
      direction: 'outbound',
      listener: options.name,
      raw,
      socket,
      address: targetName(options.address),
      identity,
      check,
      failed: () => refuse(local, plane),
      verified: (link) => {
        watchRefusal(socket, local, link, upstream);
        startRelay('outbound', options.name, link, local, plane);
      },
    },
    plane,
  );
}

/**
 * In TLS 1.3 a server judges us after our side of the handshake is done, and Node's says nothing when it refuses:
 * a peer that leaves before it sent a byte, and before the app did, most likely disliked our certificate.
 */
function watchRefusal(socket: TLSSocket, local: Socket, { peer, identity }: PeerLink, upstream: Upstream): void {
  let reported = false;
  const gone = () => {
    if (reported || socket.bytesRead > 0 || local.readableEnded || local.destroyed) return;
    reported = true;
    reportHandshakeFailure(upstream.plane, {
      direction: 'outbound',
      listener: upstream.options.name,
      reason: 'closed_after_handshake',
      address: peer.address,
      identity,
      leaf: peer.leaf,
    });
  };
  socket.once('end', gone);
  socket.once('close', gone);
}

function refuse(local: Socket, plane: DataPlane): void {
  plane.connections.dismiss();
  local.resetAndDestroy();
}

function upstreamDown({ reason, system }: DialFailure, { options, plane }: Upstream): void {
  const address = targetName(options.address);
  plane.metrics.upstreamErrors.with({ listener: options.name, reason }).value++;
  plane.refusals.warn(
    `${options.name} upstream ${reason}`,
    {
      event: 'upstream_down',
      code: 'SL-UP-001',
      reason,
      listener: options.name,
      upstream: address,
      system,
      fix: `start ${options.service}'s sidecar, or correct address of outbound "${options.name}"`,
    },
    `outbound "${options.name}": ${options.service} is not reachable at ${address} (${system})`,
  );
}
