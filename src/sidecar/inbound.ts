import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { type ServerAlpn, serverAlpn } from './alpn.ts';
import { awaitTurn } from './arrival.ts';
import type { DataPlane } from './data-plane.ts';
import { dial, remoteName, speaksFor } from './dial.ts';
import { takeProxyHeader, trustedFronts } from './front.ts';
import { createHttpInbound } from './http1/inbound.ts';
import type { Identity } from './identity.ts';
import { bindListener, type Listener } from './listener.ts';
import { STREAMS_PROTOCOL } from './mux/alpn.ts';
import { startSharedLink } from './mux/shared-link.ts';
import { noRoom } from './no-room.ts';
import type { InboundOptions } from './options.ts';
import type { PeerLink, VerifiedPeer } from './peer-link.ts';
import { createPlaintextGate, type PlaintextGate } from './permissive.ts';
import type { ListenerPolicy } from './policy.ts';
import { encodeProxyHeader } from './proxy-header.ts';
import { ownLink, secure } from './secure.ts';
import { startRelay } from './start-relay.ts';
import { targetDown } from './target.ts';

/**
 * Binds the mTLS port in front of the app. No byte reaches the app before the caller's chain, dates, names and
 * identity were judged and its SPIFFE id is allowed.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003
 */
export async function bindInbound(
  options: InboundOptions,
  policy: ListenerPolicy,
  plane: DataPlane,
): Promise<InboundListener> {
  const http = await frontOf(options, policy, plane);
  const plaintext = createPlaintextGate({ options, plane, serve: http?.servePlaintext });
  const inbound: Inbound = {
    options,
    plane,
    policy,
    alpn: serverAlpn(options, plane.streams),
    isFront: trustedFronts(options.acceptProxyHeader ?? []),
    plaintext,
    serve: http?.serve ?? ((link) => connectTarget(link, options, plane)),
    bridge: http?.bridge,
  };
  const listener = await bindListener({
    what: `inbound "${options.name}"`,
    address: options.listen,
    socketMode: options.socketMode,
    pauseOnConnect: false,
    sharing: plane.sharing,
    accept: (raw) => accept(raw, inbound),
  });
  return { ...(http === undefined ? listener : http.closeWith(listener)), plaintext };
}

interface InboundListener extends Listener {
  readonly plaintext: PlaintextGate;
}

interface Inbound {
  readonly options: InboundOptions;
  readonly plane: DataPlane;
  readonly policy: ListenerPolicy;
  readonly alpn: ServerAlpn;
  /** Whether who connects from there speaks for others, and says for whom. */
  readonly isFront: (address: string | undefined) => boolean;
  readonly plaintext: PlaintextGate;
  /** Takes over a link to a verified and allowed caller. */
  readonly serve: (link: PeerLink) => void;
  /** The same of one who speaks HTTP/2 to an app of HTTP/1.1. */
  readonly bridge: ((link: PeerLink) => void) | undefined;
}

interface Front {
  serve(link: PeerLink): void;
  servePlaintext(raw: Socket): void;
  closeWith(listener: Listener): Listener;
  /** Takes over a link to one who speaks HTTP/2, for an app of HTTP/1.1. */
  bridge?(link: PeerLink): void;
}

/** What reads the requests; undefined where bytes pass as they are. HTTP/2 is loaded where it is needed. */
async function frontOf(options: InboundOptions, policy: ListenerPolicy, plane: DataPlane): Promise<Front | undefined> {
  switch (options.protocol) {
    case 'tcp':
      return undefined;
    case 'http':
      return withBridge(createHttpInbound(options, policy, plane), options, policy, plane);
    case 'http2':
      return (await import('./http2/inbound.ts')).createHttp2Inbound(options, policy, plane);
  }
}

function withBridge(
  http: ReturnType<typeof createHttpInbound>,
  options: InboundOptions,
  policy: ListenerPolicy,
  plane: DataPlane,
): Front {
  let made: Promise<(link: PeerLink) => void> | undefined;
  return {
    ...http,
    bridge(link) {
      made ??= import('./http2/inbound.ts').then((m) => m.createHttp2Bridge(options, policy, plane, http.open));
      void made.then((serve) => serve(link));
    },
  };
}

function accept(raw: Socket, inbound: Inbound): void {
  const { options, plane, plaintext } = inbound;
  const listener = options.name;
  const identity = plane.identity.current();
  if (identity === undefined) {
    plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'no_identity' }).value++;
    raw.destroy();
    return;
  }
  const shortage = plane.connections.admit();
  if (shortage !== undefined) {
    raw.destroy();
    noRoom('inbound', listener, shortage, plane);
    return;
  }
  const tls = () =>
    awaitTurn(raw, listener, identity, plane, {
      begin: (leftMs) => startTls(raw, plane.identity.current() ?? identity, inbound, leftMs),
      failed: () => plane.connections.dismiss(),
    });
  const start = () => plaintext.accept(raw, tls);
  if (!inbound.isFront(raw.remoteAddress)) {
    start();
    return;
  }
  takeProxyHeader(raw, plane.limits.handshakeTimeoutMs, (source) => {
    if (source === undefined) {
      plane.connections.dismiss();
      plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'proxy_header' }).value++;
      raw.destroy();
      return;
    }
    speaksFor(raw, source);
    start();
  });
}

function startTls(raw: Socket, identity: Identity, inbound: Inbound, timeoutMs: number): void {
  const { options, plane, policy, alpn, serve, bridge } = inbound;
  const listener = options.name;
  const address = remoteName(raw);
  // Asking for a certificate and refusing its absence lets OpenSSL send the alert that tells a caller what is missing.
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: contextOf(inbound, identity),
    requestCert: true,
    rejectUnauthorized: true,
    ...(alpn.choose === undefined ? {} : { ALPNCallback: alpn.choose }),
  });
  secure(
    {
      direction: 'inbound',
      listener,
      raw,
      socket,
      address,
      identity,
      resumption: options.resumption === true,
      timeoutMs,
      check: () =>
        alpn.permits(socket.alpnProtocol) ? undefined : { reason: 'alpn_mismatch', detail: 'it offers none at all' },
      failed() {
        plane.pace.leave();
        plane.connections.dismiss();
      },
      verified(verified) {
        plane.pace.leave();
        if (!policy.connect(verified)) {
          plane.connections.dismiss();
          ownLink(verified, socket, plane).link.reset();
          return;
        }
        if (plane.openPeers.isSilenced(verified.peer.leaf, plane.clock.now())) {
          plane.connections.dismiss();
          plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'records_flood' }).value++;
          ownLink(verified, socket, plane).link.reset();
          return;
        }
        plane.handshakeBudget.giveBack(address);
        if (!claim(verified, options, plane)) ownLink(verified, socket, plane).link.reset();
        else if (socket.alpnProtocol === STREAMS_PROTOCOL) share(verified, socket, inbound);
        else if (socket.alpnProtocol === 'h2' && bridge !== undefined) bridge(ownLink(verified, socket, plane));
        else serve(ownLink(verified, socket, plane));
      },
    },
    plane,
  );
}

/** Tickets are good for as long as trust, revocation lists, rules and our own certificate are those of now. */
function contextOf({ options, policy, plane }: Inbound, { material }: Identity): SecureContext {
  return options.resumption === true
    ? plane.contexts.giving(material, options.name, [plane.crl()?.sha256 ?? '', policy.revision])
    : plane.contexts.of(material, 'server');
}

/** One more connection of this caller; false, and counted and told, when it has too many. It is dismissed then. */
function claim({ peer }: VerifiedPeer, { name: listener }: InboundOptions, plane: DataPlane): boolean {
  const id = peer.spiffeId.uri;
  if (plane.connections.claim(id)) return true;
  plane.connections.dismiss();
  plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'caller_limit' }).value++;
  plane.refusals.warn(
    `${listener} caller_limit ${id}`,
    {
      event: 'caller_limited',
      code: 'SL-LIMIT-003',
      reason: 'caller_limit',
      listener,
      peer: { address: peer.address, id },
      limit: plane.limits.maxConnectionsPerCaller,
      fix: `find out why ${id} keeps so many connections open, or raise limits.maxConnectionsPerCaller`,
    },
    `${id} has as many connections as one caller may have: one more to inbound "${listener}" was refused`,
  );
  return false;
}

/** The connection keeps the place it was admitted to, and every stream takes one more. */
function share(verified: VerifiedPeer, socket: TLSSocket, { options, plane, serve }: Inbound): void {
  const listener = options.name;
  const link = startSharedLink({
    direction: 'inbound',
    listener,
    socket,
    verified,
    plane,
    accepted(stream) {
      const shortage = plane.connections.admit();
      if (shortage !== undefined) {
        stream.link.reset();
        noRoom('inbound', listener, shortage, plane);
      } else if (claim(verified, options, plane)) serve(stream);
      else stream.link.reset();
    },
    closed(reason) {
      plane.connections.dismiss(verified.peer.spiffeId.uri);
      plane.links.ended(link, reason);
    },
  });
  plane.links.add(link);
}

function connectTarget(link: PeerLink, options: InboundOptions, plane: DataPlane): void {
  const app = dial(options.target, plane.limits.connectTimeoutMs, (failure) => {
    if (failure === undefined) {
      if (options.sendProxyHeader === 'v2') app.write(proxyHeaderOf(link));
      startRelay('inbound', options.name, link, app, plane);
      return;
    }
    plane.connections.dismiss(link.peer.spiffeId.uri);
    // An error, not a clean end: the caller must not take silence for an empty answer.
    link.link.reset();
    targetDown(failure, options, plane);
  });
}

function proxyHeaderOf({ peer, local, tls: { version, cipher } }: PeerLink): Buffer {
  const tls = { version, cipher, spiffeId: peer.spiffeId.uri };
  return encodeProxyHeader({ source: peer.address, destination: local, tls });
}
