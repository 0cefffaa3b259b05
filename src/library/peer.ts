import type { TLSSocket } from 'node:tls';
import { SidelockError } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import { type SpiffeId, serviceOf } from '../pki/names.ts';
import type { PeerSource } from '../pki/peer.ts';
import { peerSource } from '../pki/peer-chain.ts';
import { compileAllow, expand } from '../sidecar/authorize.ts';
import { explain, type HandshakeReason } from '../sidecar/handshake.ts';
import type { Credentials } from './credentials.ts';

/** Who is at the other end of a connection. */
export interface PeerIdentity {
  readonly spiffeId: string;
  /** Undefined for an id that is not of the form `/ns/NAMESPACE/sa/SERVICE`. */
  readonly service: string | undefined;
  readonly namespace: string | undefined;
  /** SHA-256 of the certificate, hex. */
  readonly fingerprint: string;
}

/** `any` for every peer with a certificate of our roots, or patterns as in the `allow` of a sidecar. */
export type Allowed = 'any' | readonly string[];

export function peerIdentityOf(id: SpiffeId, fingerprint: string): PeerIdentity {
  const named = serviceOf(id);
  return Object.freeze({ spiffeId: id.uri, service: named?.service, namespace: named?.namespace, fingerprint });
}

/** Connections of one role, each judged when it begins and again whenever identity or revocations change. */
export interface Watched {
  /** @throws SidelockError SL-TLS-003 to -006, -010, -012, SL-AUTHZ-001: what is wrong with the peer, and what to do */
  admit(socket: TLSSocket): PeerIdentity;
  /** Ends the watch; open connections stay. */
  stop(): void;
}

/**
 * Judges peers by their chain and then by `allow`. A peer that a later list revokes, or whose root leaves the bundle,
 * loses its connections.
 * @throws SL-CFG-003 naming the pattern that is not one
 */
export function watchPeers(credentials: Credentials, side: 'client' | 'server', allow: Allowed): Watched {
  const judge = peerJudge(credentials, side, allow);
  const open = new Set<TLSSocket>();
  const stop = credentials.subscribe(() => {
    for (const socket of open) {
      const verdict = credentials.judge(peerSource(socket), side);
      // A connection may outlive the dates it began with.
      if (verdict.ok || verdict.reason === 'expired' || verdict.reason === 'issuer_expired') continue;
      socket.destroy();
    }
  });
  return {
    admit(socket) {
      const peer = judge(peerSource(socket));
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      return peer;
    },
    stop,
  };
}

/**
 * One judgement: the chain, then `allow`. What it gives throws SL-TLS-003 to -006, -010, -012, SL-AUTHZ-001.
 * @throws SL-CFG-003 naming the pattern that is not one
 */
export function peerJudge(
  credentials: Credentials,
  side: 'client' | 'server',
  allow: Allowed,
): (peer: PeerSource) => PeerIdentity {
  const authorize = compileAllow(allow, credentials);
  return (peer) => {
    const verdict = credentials.judge(peer, side);
    if (!verdict.ok) {
      throw refusal(`${side === 'client' ? 'client' : 'peer'}_${verdict.reason}`, verdict.detail, verdict.leaf);
    }
    const { spiffeId, leaf } = verdict;
    if (authorize(spiffeId) !== undefined) return peerIdentityOf(spiffeId, leaf.fingerprint256);
    if (side === 'server') {
      throw refusal('peer_wrong_identity', `it is ${spiffeId.uri}, expected ${namesOf(allow, credentials)}`, leaf);
    }
    throw new SidelockError('SL-AUTHZ-001', `${spiffeId.uri} may not call`, {
      why: 'no entry of allow names it',
      data: { serial: leaf.serial, spiffeId: spiffeId.uri },
    });
  };
}

function namesOf(allow: Allowed, credentials: Credentials): string {
  if (allow === 'any') return allow;
  return allow.map((one) => expand(one, credentials)).join(', ');
}

function refusal(reason: HandshakeReason, detail: string, leaf: Certificate | undefined): SidelockError {
  const { code, sentence, fix } = explain(reason, detail);
  const data = { reason, ...(leaf === undefined ? {} : { serial: leaf.serial, spiffeId: leaf.spiffeId?.uri }) };
  return new SidelockError(code, 'the peer was refused', { why: sentence, fix, data });
}
