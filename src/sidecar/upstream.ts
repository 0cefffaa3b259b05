import { isIP, type Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { MINUTE, SECOND } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { SpiffeId } from '../pki/names.ts';
import { clientAlpn } from './alpn.ts';
import { compileAllow, expand } from './authorize.ts';
import type { DataPlane } from './data-plane.ts';
import { type DialFailure, dial, targetName } from './dial.ts';
import { explain, type HandshakeReason } from './handshake.ts';
import type { SharedLink } from './links.ts';
import { STREAMS_PROTOCOL } from './mux/alpn.ts';
import { ORDERLY } from './mux/reasons.ts';
import { startSharedLink } from './mux/shared-link.ts';
import type { OutboundOptions } from './options.ts';
import type { PeerLink, VerifiedPeer } from './peer-link.ts';
import { reportHandshakeFailure } from './report.ts';
import { ownLink, secure } from './secure.ts';

/** Past so many streams on every shared connection one more is made, while there are fewer than `MAX_SHARED`. */
const CROWDED = 256;
const MAX_SHARED = 8;
/** A peer that refuses the very word of streams is asked again after this long. */
const ASK_AGAIN = 10 * MINUTE;
/** At most once in this time another connection is tried because the others are crowded. */
const RELIEF = SECOND;

const NOT_AGREED = { reason: 'alpn_mismatch', detail: 'it agrees on none' } as const;

/** Who wants a link. */
interface Caller {
  readonly ready: (link: PeerLink) => void;
  /** Called instead of `ready`; counted, explained and cleaned up by then. */
  readonly failed: (failure: PeerLinkFailure) => void;
  /** True when the caller itself has gone, so that a connection that ends is nobody's fault. */
  readonly left: () => boolean;
}

/** Why there is no link. */
export interface PeerLinkFailure {
  readonly stage: 'identity' | 'dial' | 'handshake';
  readonly code: ErrorCode;
}

/** One peer service, and the connections to it. */
export interface Upstream {
  readonly options: OutboundOptions;
  readonly plane: DataPlane;
  /** Gives a link to the peer, which was verified: a stream where the peer knows them, else a connection of its own. */
  connect(caller: Caller): void;
}

/** @throws SL-CFG-003 (a pattern of `expect`) */
export function createUpstream(options: OutboundOptions, plane: DataPlane): Upstream {
  const patterns = options.expect.length === 0 ? [options.service] : options.expect;
  const expected = compileAllow(patterns, plane);
  const names = patterns.map((pattern) => expand(pattern, plane)).join(', ');
  const check = (id: SpiffeId): { reason: HandshakeReason; detail: string } | undefined =>
    expected(id) !== undefined
      ? undefined
      : { reason: 'peer_wrong_identity', detail: `it is ${id.uri}, expected ${names}` };
  const listener = options.name;
  const alpn = clientAlpn(options, plane.streams);
  const { host } = options.address;
  const shared = new Set<SharedLink>();
  const waiting: Caller[] = [];
  let connecting = false;
  /** What the peer said last. */
  let knowsStreams = true;
  let refusesOfferUntil = 0;
  let relieved = 0;

  const best = (): SharedLink | undefined => {
    const generation = plane.identity.current()?.generation;
    let found: SharedLink | undefined;
    for (const link of shared) {
      if (!link.open || link.verified.identity.generation !== generation) continue;
      if (found === undefined || link.streams < found.streams) found = link;
      if (found.streams < CROWDED) break;
    }
    return found;
  };

  /** Makes one connection for those whom `callers` names when it stands. */
  const attempt = (callers: () => Caller[], settled: () => void): void => {
    const fail = (stage: PeerLinkFailure['stage'], code: ErrorCode) => {
      settled();
      for (const caller of callers()) caller.failed({ stage, code });
    };
    const identity = plane.identity.current();
    if (identity === undefined) {
      fail('identity', 'SL-CERT-001');
      return;
    }
    const raw: Socket = dial(options.address, plane.limits.connectTimeoutMs, (failure) => {
      if (failure !== undefined) {
        upstreamDown(failure, options, plane);
        fail('dial', 'SL-UP-001');
        return;
      }
      const offers = alpn.offer.length > 0 && (alpn.demands || plane.clock.now() >= refusesOfferUntil);
      const socket = tlsConnect({
        socket: raw,
        secureContext: plane.contexts.of(identity.material, 'client'),
        ...(isIP(host) === 0 ? { servername: host } : {}),
        ...(offers ? { ALPNProtocols: [...alpn.offer] } : {}),
        // The verdict is taken in `secure`, which explains it; nothing is sent before.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
      secure(
        {
          direction: 'outbound',
          listener,
          raw,
          socket,
          address: targetName(options.address),
          identity,
          check: (id) => check(id) ?? (alpn.demands && socket.alpnProtocol === false ? NOT_AGREED : undefined),
          forgive(reason) {
            if (!offers || alpn.demands || reason !== 'alpn_mismatch') return false;
            refusesOfferUntil = plane.clock.now() + ASK_AGAIN;
            attempt(callers, settled);
            return true;
          },
          failed: (reason) => fail('handshake', explain(reason, undefined).code),
          verified(verified) {
            settled();
            knowsStreams = socket.alpnProtocol === STREAMS_PROTOCOL;
            if (knowsStreams) share(verified, socket, callers());
            else giveOwn(verified, socket, callers());
          },
        },
        plane,
      );
    });
  };

  const share = (verified: VerifiedPeer, socket: TLSSocket, callers: readonly Caller[]) => {
    const link = startSharedLink({
      direction: 'outbound',
      listener,
      socket,
      verified,
      plane,
      closed(reason) {
        shared.delete(link);
        plane.links.ended(link, reason);
        if (link.frames.received === 0 && !ORDERLY.has(reason)) reportRefusal(verified, listener, plane);
      },
    });
    shared.add(link);
    plane.links.add(link);
    for (const caller of callers) caller.ready(link.stream());
  };

  const giveOwn = (verified: VerifiedPeer, socket: TLSSocket, [first, ...others]: readonly Caller[]) => {
    if (first === undefined) socket.destroy();
    else {
      watchRefusal(socket, first, verified, listener, plane);
      first.ready(ownLink(verified, socket, plane));
    }
    for (const caller of others) attemptFor(caller);
  };

  const attemptFor = (caller: Caller) =>
    attempt(
      () => [caller],
      () => {},
    );

  const attemptShared = () => {
    if (connecting) return;
    connecting = true;
    attempt(
      () => waiting.splice(0),
      () => {
        connecting = false;
      },
    );
  };

  return {
    options,
    plane,
    connect(caller) {
      if (!plane.streams || !knowsStreams) return attemptFor(caller);
      const link = best();
      if (link === undefined) {
        waiting.push(caller);
        attemptShared();
        return;
      }
      if (link.streams >= CROWDED && shared.size < MAX_SHARED && plane.clock.now() - relieved >= RELIEF) {
        relieved = plane.clock.now();
        attemptShared();
      }
      caller.ready(link.stream());
    },
  };
}

/**
 * In TLS 1.3 a server judges us after our side of the handshake is done, and Node's says nothing when it refuses:
 * a peer that leaves before it sent a byte, and before the app did, most likely disliked our certificate.
 */
function watchRefusal(
  socket: TLSSocket,
  caller: Caller,
  verified: VerifiedPeer,
  listener: string,
  plane: DataPlane,
): void {
  let reported = false;
  const gone = () => {
    if (reported || socket.bytesRead > 0 || caller.left()) return;
    reported = true;
    reportRefusal(verified, listener, plane);
  };
  socket.once('end', gone);
  socket.once('close', gone);
}

function reportRefusal({ peer, identity }: VerifiedPeer, listener: string, plane: DataPlane): void {
  reportHandshakeFailure(plane, {
    direction: 'outbound',
    listener,
    reason: 'closed_after_handshake',
    address: peer.address,
    identity,
    leaf: peer.leaf,
  });
}

function upstreamDown({ reason, system }: DialFailure, options: OutboundOptions, plane: DataPlane): void {
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
