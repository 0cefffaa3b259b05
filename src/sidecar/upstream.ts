import { isIP } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { ErrorCode } from '../base/errors.ts';
import type { SpiffeId } from '../pki/names.ts';
import { compileAllow, expand } from './authorize.ts';
import type { DataPlane } from './data-plane.ts';
import { type DialFailure, type DialReason, dial, targetName } from './dial.ts';
import { explain, type HandshakeReason } from './handshake.ts';
import type { Identity } from './identity.ts';
import type { OutboundOptions } from './options.ts';
import { reportHandshakeFailure } from './report.ts';
import { type PeerLink, secure } from './secure.ts';

/** A peer that local callers are led to. */
export interface Upstream {
  readonly options: OutboundOptions;
  readonly check: (id: SpiffeId) => { reason: HandshakeReason; detail: string } | undefined;
  readonly plane: DataPlane;
}

/** Why there is no link; counted, explained and cleaned up by then. */
export interface PeerLinkFailure {
  readonly stage: 'identity' | 'dial' | 'handshake';
  readonly reason: DialReason | HandshakeReason | 'no_identity';
  readonly code: ErrorCode;
}

export interface OpenPeerLink {
  /** Our identity at the time, when it must be this one; the current one unless given. */
  readonly identity?: Identity;
  /** Whether the local side had a reason of its own to leave before the peer said a byte. */
  readonly left: () => boolean;
}

/** @throws SL-CFG-003 (a pattern of `expect`) */
export function createUpstream(options: OutboundOptions, plane: DataPlane): Upstream {
  const patterns = options.expect.length === 0 ? [options.service] : options.expect;
  const expected = compileAllow(patterns, plane);
  const names = patterns.map((pattern) => expand(pattern, plane)).join(', ');
  return {
    options,
    plane,
    check: (id) =>
      expected(id) ? undefined : { reason: 'peer_wrong_identity', detail: `it is ${id.uri}, expected ${names}` },
  };
}

/** Opens a link to the peer, verified and checked against `expect`, and calls back once. */
export function openPeerLink(
  upstream: Upstream,
  { identity = upstream.plane.identity.current(), left }: OpenPeerLink,
  done: (result: PeerLink | PeerLinkFailure) => void,
): void {
  const { options, plane, check } = upstream;
  if (identity === undefined) {
    done({ stage: 'identity', reason: 'no_identity', code: 'SL-CERT-001' });
    return;
  }
  const raw = dial(options.address, plane.limits.connectTimeoutMs, (failure) => {
    if (failure !== undefined) {
      upstreamDown(failure, upstream);
      return done({ stage: 'dial', reason: failure.reason, code: 'SL-UP-001' });
    }
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
        failed: (reason) => done({ stage: 'handshake', reason, code: explain(reason, undefined).code }),
        verified: (link) => {
          watchRefusal(socket, left, link, upstream);
          done(link);
        },
      },
      plane,
    );
  });
}

/**
 * In TLS 1.3 a server judges us after our side of the handshake is done, and Node's says nothing when it refuses:
 * a peer that leaves before it sent a byte, and before the app did, most likely disliked our certificate.
 */
function watchRefusal(socket: TLSSocket, left: () => boolean, { peer, identity }: PeerLink, upstream: Upstream): void {
  let reported = false;
  const gone = () => {
    if (reported || socket.bytesRead > 0 || left()) return;
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
