import type { Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { MINUTE, SECOND } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { formatAddress } from '../../base/listen.ts';
import type { SpiffeId } from '../../pki/names.ts';
import type { PeerSource } from '../../pki/peer.ts';
import { endOfCertificates } from '../age.ts';
import type { ClientAlpn } from '../alpn.ts';
import type { DataPlane } from '../data-plane.ts';
import { type DialFailure, dial } from '../dial.ts';
import { explain, type HandshakeReason } from '../handshake.ts';
import type { Identity } from '../identity.ts';
import type { SharedLink } from '../links.ts';
import type { Load } from '../load.ts';
import { STREAMS_PROTOCOL } from '../mux/alpn.ts';
import { ORDERLY } from '../mux/reasons.ts';
import { startSharedLink } from '../mux/shared-link.ts';
import { DEFAULT_LINK_GRACE } from '../options.ts';
import type { PeerLink, VerifiedPeer } from '../peer-link.ts';
import { reportHandshakeFailure } from '../report.ts';
import { ownLink, secure } from '../secure.ts';
import { keptSource } from '../sent-chains.ts';
import type { Candidate } from './choose.ts';
import type { Found } from './discovery.ts';
import { type FailureKind, Health } from './health.ts';

/** Past so many streams on every shared connection one more is made, while there are fewer than `MAX_SHARED`. */
const CROWDED = 256;
const MAX_SHARED = 8;
/** A peer that refuses the very word of streams is asked again after this long. */
const ASK_AGAIN = 10 * MINUTE;
/** At most once in this time another connection is tried because the others are crowded. */
const RELIEF = SECOND;
/** So long a connection whose successor cannot be made serves on. */
const PATIENCE = 15 * SECOND;

const NOT_AGREED = { reason: 'alpn_mismatch', detail: 'it agrees on none' } as const;

/** Who wants a link to one endpoint. */
export interface LinkCaller {
  readonly ready: (link: PeerLink) => void;
  /** Called instead of `ready`; counted, explained and cleaned up by then. */
  readonly failed: (failure: PeerLinkFailure) => void;
  /** True when the caller itself has gone, so that a connection that ends is nobody's fault. */
  readonly left: () => boolean;
}

/** Why there is no link. Nothing of the caller was sent anywhere. */
export interface PeerLinkFailure {
  readonly stage: 'identity' | 'dial' | 'handshake';
  readonly code: ErrorCode;
}

interface EndpointOptions {
  readonly listener: string;
  readonly found: Found;
  readonly alpn: ClientAlpn;
  readonly plane: DataPlane;
  /** Whether a connection may resume an earlier one. */
  readonly resumption: boolean;
  /** Whether it is who is expected there. */
  readonly check: (id: SpiffeId) => { reason: HandshakeReason; detail: string } | undefined;
  /** Counts and explains that nobody answers there. */
  readonly down: (failure: DialFailure, address: string) => void;
  /** Told of everything that went wrong with it. */
  readonly failed: (kind: FailureKind) => void;
}

/** One address of a peer service, and the connections to it. */
export interface Endpoint extends Load, Candidate {
  /** What is known of it now. */
  found: Found;
  /** `host:port` */
  readonly name: string;
  readonly health: Health;
  active: number;
  readonly retired: boolean;
  /** Gives a link to the peer, which was verified: a stream where the peer knows them, else a connection of its own. */
  connect(caller: LinkCaller, timeoutMs: number): void;
  /** Nothing new is to go there; what is open ends by itself. */
  retire(): void;
}

export function createEndpoint(options: EndpointOptions): Endpoint {
  const { listener, found, alpn, plane } = options;
  const { servername } = found;
  const name = formatAddress(found);
  const health = new Health();
  const shared = new Set<SharedLink>();
  /** Those whose successor is to be made, with the time of the clock since when. */
  const replaced = new Map<SharedLink, number>();
  const waiting: LinkCaller[] = [];
  const { resumption } = options;
  /** The newest TLS session, used again and again: a server of Node's gives no new ticket when it resumes. */
  let kept: { readonly scope: string; readonly session: Buffer; readonly of: PeerSource } | undefined;
  let connecting = false;
  let retired = false;
  /** What the peer said last. */
  let knowsStreams = true;
  let refusesOfferUntil = 0;
  let relieved = 0;

  const goAway = (link: SharedLink) => link.goAway(plane.limits.linkGraceMs ?? DEFAULT_LINK_GRACE);

  /** The least busy of those that are to stay, or of those that are not. */
  const best = (staying: boolean): SharedLink | undefined => {
    const generation = plane.identity.current()?.generation;
    if (generation === undefined) return undefined;
    let found: SharedLink | undefined;
    for (const link of shared) {
      const stays = link.verified.identity.generation === generation && !replaced.has(link);
      if (!link.open || stays !== staying) continue;
      if (found === undefined || link.streams < found.streams) found = link;
      if (found.streams < CROWDED) break;
    }
    return found;
  };

  /** A peer may be out of reach for a moment, just when its certificate or ours changed: nobody is to wait for it. */
  const replace = (link: SharedLink, graceMs: number) => {
    const now = plane.clock.now();
    const since = replaced.get(link) ?? now;
    replaced.set(link, since);
    const late = now - since >= PATIENCE || now >= endOfCertificates(link.verified);
    // The successor may be there since the last look: had the peer refused it, it would be gone.
    if (late || best(true) !== undefined) link.goAway(graceMs);
    else attemptShared(plane.limits.connectTimeoutMs);
  };

  /** A session of before does not outlive a change of what the peer is judged by. */
  const scopeOf = ({ generation }: Identity) => `${generation} ${plane.crl()?.sha256}`;

  /** Makes one connection for those whom `callers` names when it stands. */
  const attempt = (callers: () => LinkCaller[], settled: () => void, timeoutMs: number): void => {
    const fail = (stage: PeerLinkFailure['stage'], code: ErrorCode) => {
      settled();
      for (const caller of callers()) caller.failed({ stage, code });
    };
    const identity = plane.identity.current();
    if (identity === undefined) {
      fail('identity', 'SL-CERT-001');
      return;
    }
    const raw: Socket = dial(found, timeoutMs, (failure) => {
      if (failure !== undefined) {
        options.down(failure, name);
        options.failed('connect');
        fail('dial', 'SL-UP-001');
        return;
      }
      const scope = scopeOf(identity);
      const known = kept?.scope === scope ? kept : undefined;
      const offers = alpn.offer.length > 0 && (alpn.demands || plane.clock.now() >= refusesOfferUntil);
      const socket = tlsConnect({
        socket: raw,
        secureContext: resumption
          ? plane.contexts.resuming(identity.material)
          : plane.contexts.of(identity.material, 'client'),
        ...(known === undefined ? {} : { session: known.session }),
        ...(servername === undefined ? {} : { servername }),
        ...(offers ? { ALPNProtocols: [...alpn.offer] } : {}),
        // The verdict is taken in `secure`, which explains it; nothing is sent before.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
      if (resumption) {
        // Once for all its tickets: the chain is walked for it.
        let fresh: ReturnType<typeof keptSource> | undefined;
        socket.on('session', (session: Buffer) => {
          if (plane.identity.current()?.generation !== identity.generation) return;
          fresh ??= socket.isSessionReused() && known !== undefined ? known.of : keptSource(socket);
          kept = { scope, session, of: fresh };
        });
      }
      secure(
        {
          direction: 'outbound',
          listener,
          raw,
          socket,
          address: name,
          identity,
          known: known?.of,
          timeoutMs: plane.limits.handshakeTimeoutMs,
          check: (id) => options.check(id) ?? (alpn.demands && socket.alpnProtocol === false ? NOT_AGREED : undefined),
          forgive(reason) {
            if (!offers || alpn.demands || reason !== 'alpn_mismatch') return false;
            refusesOfferUntil = plane.clock.now() + ASK_AGAIN;
            attempt(callers, settled, timeoutMs);
            return true;
          },
          failed(reason) {
            kept = undefined;
            options.failed(reason === 'peer_wrong_identity' ? 'wrong_identity' : 'handshake');
            fail('handshake', explain(reason, undefined).code);
          },
          verified(verified) {
            settled();
            health.succeeded('connect');
            knowsStreams = socket.alpnProtocol === STREAMS_PROTOCOL;
            if (knowsStreams) share(verified, socket, callers());
            else {
              for (const link of replaced.keys()) goAway(link);
              giveOwn(verified, socket, callers());
            }
          },
        },
        plane,
      );
    });
  };

  const share = (verified: VerifiedPeer, socket: TLSSocket, callers: readonly LinkCaller[]) => {
    const link = startSharedLink({
      direction: 'outbound',
      listener,
      socket,
      verified,
      plane,
      replace: (graceMs) => replace(link, graceMs),
      closed(reason) {
        shared.delete(link);
        replaced.delete(link);
        plane.links.ended(link, reason);
        if (link.frames.received > 0) health.succeeded('refused');
        else if (!ORDERLY.has(reason)) refused(verified);
      },
    });
    shared.add(link);
    plane.links.add(link);
    for (const caller of callers) caller.ready(link.stream());
    if (retired) goAway(link);
  };

  const giveOwn = (verified: VerifiedPeer, socket: TLSSocket, [first, ...others]: readonly LinkCaller[]) => {
    if (first === undefined) socket.destroy();
    else {
      watchRefusal(socket, first, verified);
      first.ready(ownLink(verified, socket, plane));
    }
    for (const caller of others) attemptFor(caller, plane.limits.connectTimeoutMs);
  };

  /**
   * In TLS 1.3 a server judges us after our side of the handshake is done, and Node's says nothing when it refuses:
   * a peer that leaves before it sent a byte, and before the app did, most likely disliked our certificate.
   */
  const watchRefusal = (socket: TLSSocket, caller: LinkCaller, verified: VerifiedPeer) => {
    let reported = false;
    const gone = () => {
      if (reported) return;
      if (socket.bytesRead > 0) health.succeeded('refused');
      else if (!caller.left()) {
        reported = true;
        refused(verified);
      }
    };
    socket.once('end', gone);
    socket.once('close', gone);
  };

  const refused = ({ peer, identity }: VerifiedPeer) => {
    kept = undefined;
    options.failed('refused');
    reportHandshakeFailure(plane, {
      direction: 'outbound',
      listener,
      reason: 'closed_after_handshake',
      address: peer.address,
      identity,
      leaf: peer.leaf,
    });
  };

  const attemptFor = (caller: LinkCaller, timeoutMs: number) =>
    attempt(
      () => [caller],
      () => {},
      timeoutMs,
    );

  const attemptShared = (timeoutMs: number) => {
    if (connecting) return;
    connecting = true;
    attempt(
      () => waiting.splice(0),
      () => {
        connecting = false;
      },
      timeoutMs,
    );
  };

  return {
    found,
    name,
    health,
    active: 0,
    get capacity() {
      return this.found.weight * health.share;
    },
    get retired() {
      return retired;
    },
    answered(status) {
      if (status >= 502 && status <= 504) options.failed('gateway');
      else health.succeeded('gateway');
    },
    unanswered: () => options.failed('gateway'),
    connect(caller, timeoutMs) {
      if (!plane.streams || !knowsStreams) return attemptFor(caller, timeoutMs);
      const link = best(true) ?? best(false);
      if (link === undefined) {
        waiting.push(caller);
        attemptShared(timeoutMs);
        return;
      }
      if (link.streams >= CROWDED && shared.size < MAX_SHARED && plane.clock.now() - relieved >= RELIEF) {
        relieved = plane.clock.now();
        attemptShared(timeoutMs);
      }
      caller.ready(link.stream());
    },
    retire() {
      if (retired) return;
      retired = true;
      for (const link of shared) goAway(link);
    },
  };
}
