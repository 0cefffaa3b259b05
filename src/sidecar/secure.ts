import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { nodeCode } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { SpiffeId } from '../pki/names.ts';
import type { PeerSource } from '../pki/peer.ts';
import type { DataPlane } from './data-plane.ts';
import { localName } from './dial.ts';
import { classify, type HandshakeReason } from './handshake.ts';
import type { Identity } from './identity.ts';
import type { Direction } from './metrics.ts';
import { STREAMS_PROTOCOL } from './mux/alpn.ts';
import { opensslVerdict, releaseControl } from './node-internals.ts';
import type { PeerLink, VerifiedPeer } from './peer-link.ts';
import { reportHandshakeFailure } from './report.ts';
import { socketLink } from './socket-link.ts';

interface Handshake {
  readonly direction: Direction;
  readonly listener: string;
  /** The TCP socket below, whose byte count tells a port probe from a broken handshake. */
  readonly raw: Socket;
  readonly socket: TLSSocket;
  /** `host:port` of the other side. */
  readonly address: string;
  /** Ours, as shown in this handshake. */
  readonly identity: Identity;
  /** How long it may take from here, ms. */
  readonly timeoutMs: number;
  /** A last rule on a peer that verified: undefined, or why it is not the right one. */
  readonly check?: (id: SpiffeId) => { reason: HandshakeReason; detail: string } | undefined;
  readonly verified: (peer: VerifiedPeer, socket: TLSSocket) => void;
  /** Whether what an accepted caller showed is wanted again, when it resumes. */
  readonly resumption?: boolean;
  /** The peer of the session that this handshake may resume: Node tells a client none then. */
  readonly known?: PeerSource | undefined;
  /** Asked before a failure is counted and explained; true when it is not one, because another way is tried. */
  readonly forgive?: (reason: HandshakeReason) => boolean;
  /** Called once instead of `verified`, unless forgiven; counted, explained and destroyed by then. */
  readonly failed: (reason: HandshakeReason) => void;
}

/** The whole connection as one link. */
export function ownLink(verified: VerifiedPeer, socket: TLSSocket, plane: DataPlane): PeerLink {
  return { ...verified, link: socketLink(socket, plane), kind: 'own' };
}

/**
 * Waits for the handshake of either side and judges the peer: our own pass over its chain, OpenSSL's verdict, then
 * `check`.
 */
export function secure(handshake: Handshake, plane: DataPlane): void {
  const { direction, listener, raw, socket, address, identity } = handshake;
  const started = performance.now();
  let settled = false;

  const fail = (
    reason: HandshakeReason,
    more: { detail?: string; leaf?: Certificate | undefined; openssl?: string | undefined } = {},
  ) => {
    if (settled) return;
    settle();
    const forgiven = handshake.forgive?.(reason) === true;
    if (!forgiven) reportHandshakeFailure(plane, { direction, listener, reason, address, identity, ...more });
    socket.destroy();
    raw.destroy();
    if (!forgiven) handshake.failed(reason);
  };
  const broke = (error?: Error) => {
    fail(classify({ direction, error, bytesRead: raw.bytesRead }), { openssl: nodeCode(error) });
  };
  const closed = () => broke();
  const judge = () => {
    // Resumed or not: OpenSSL looks at nothing again when it resumes, not even at dates.
    const resumed = socket.isSessionReused();
    const shown = resumed && handshake.known !== undefined ? handshake.known : plane.chains.of(socket);
    const verdict = plane.judge(
      shown,
      plane.identity.current() ?? identity,
      direction === 'inbound' ? 'client' : 'server',
    );
    const openssl = opensslVerdict(socket);
    const { leaf } = verdict;
    if (!verdict.ok) {
      const side = direction === 'inbound' ? 'client' : 'peer';
      return fail(`${side}_${verdict.reason}`, { detail: verdict.detail, leaf, openssl });
    }
    if (openssl !== undefined) return fail('openssl_refused', { detail: openssl, leaf, openssl });
    const wrong = handshake.check?.(verdict.spiffeId);
    if (wrong !== undefined) return fail(wrong.reason, { detail: wrong.detail, leaf });
    settle();
    releaseControl(socket);
    plane.metrics.handshakes.with({ direction, listener, result: 'ok', reason: '' }).value++;
    if (resumed) plane.metrics.resumed.with({ direction, listener }).value++;
    else if (handshake.resumption === true) plane.chains.keep(shown);
    plane.metrics.handshakeSeconds.with({ direction, listener }).observe((performance.now() - started) / 1000);
    const verified = {
      peer: { address, spiffeId: verdict.spiffeId, leaf: verdict.leaf, root: verdict.root.fingerprint256 },
      local: localName(raw),
      identity,
      tls: tlsFacts(socket, direction),
    };
    const kind = socket.alpnProtocol === STREAMS_PROTOCOL ? 'shared' : 'own';
    plane.openPeers.add(socket, {
      direction,
      listener,
      kind,
      verified,
      root: verified.peer.root,
      shown: resumed ? shown : undefined,
      since: plane.clock.now(),
    });
    handshake.verified(verified, socket);
  };
  const settle = () => {
    settled = true;
    clearTimeout(timer);
    socket.off('end', closed);
    socket.off('close', closed);
    socket.off('secure', judge);
  };
  const timer = setTimeout(() => {
    fail(direction === 'inbound' && raw.bytesRead === 0 ? 'port_probe' : 'handshake_timeout');
  }, handshake.timeoutMs);
  // From birth to death: an 'error' without a listener would end the process. After the handshake Node (26.10) tells of a
  // record that breaks the protocol, and leaves the socket open.
  socket.on('error', (error) => {
    if (settled) socket.destroy();
    else broke(error);
  });
  // Half-open sockets do not close by themselves when the other side leaves.
  socket.once('end', closed);
  socket.once('close', closed);
  socket.once('secure', judge);
}

function tlsFacts(socket: TLSSocket, direction: Direction): VerifiedPeer['tls'] {
  // Node tells the key exchange group on the client side only.
  const key = direction === 'outbound' ? socket.getEphemeralKeyInfo() : null;
  return {
    version: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    group: key !== null && 'name' in key && typeof key.name === 'string' ? key.name : undefined,
    ...(socket.isSessionReused() ? { resumed: true as const } : {}),
  };
}
