import type { TLSSocket } from 'node:tls';
import { SECOND } from '../base/clock.ts';
import { Crowd } from '../base/crowd.ts';
import type { Logger } from '../base/log.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { PeerPurpose, PeerReason, PeerSource, PeerVerdict } from '../pki/peer.ts';
import { peerSource } from '../pki/peer-chain.ts';
import type { Connections } from './connections.ts';
import type { IdentityReader } from './identity.ts';
import type { PeerJudge } from './judge.ts';
import type { DataPlaneMetrics, Direction } from './metrics.ts';
import { rawSocket } from './node-internals.ts';
import { createNoiseMeter } from './noise.ts';
import type { NoticesOut } from './notices-out.ts';
import type { LinkKind, VerifiedPeer } from './peer-link.ts';
import type { Refusals } from './refusals.ts';

interface OpenPeer {
  readonly direction: Direction;
  readonly listener: string;
  readonly kind: LinkKind;
  readonly verified: VerifiedPeer;
  /** SHA-256 of the root that vouches for the peer. */
  readonly root: string;
  /** Its certificates, where the session has not all of them. */
  readonly shown: PeerSource | undefined;
  /** ms since the epoch. */
  readonly since: number;
}

/** As much of the data plane as decides and closes. */
interface Judging {
  readonly identity: IdentityReader;
  readonly judge: PeerJudge;
  readonly connections: Connections;
  readonly metrics: DataPlaneMetrics;
  readonly notices: Pick<NoticesOut, 'add'>;
  readonly log: Logger;
}

/** Every open mTLS connection, so that those whose peer is no longer accepted can be closed. */
export interface OpenPeers {
  add(socket: TLSSocket, peer: OpenPeer): void;
  /** How many there are by the root that vouches for the peer (SHA-256). */
  byRoot(): ReadonlyMap<string, number>;
  /** How many there are by `inbound` or `outbound`, a space, and the SPIFFE id of the peer. */
  byPeer(): ReadonlyMap<string, number>;
  /** Judges every peer again, as of now, and cuts the connections of those that are refused. */
  reauthorise(plane: Judging): void;
  /** The certificates of callers with an open connection. */
  callers(): IterableIterator<OpenPeer>;
  /** Closes those that send records without content in a flood; called about once a second, as of `now`. */
  sweep(refusals: Refusals, now: number): void;
  /** Whether a connection with this certificate was closed so a moment ago. */
  isSilenced(leaf: Pick<Certificate, 'fingerprint256'>, now: number): boolean;
  /** Writes their number and the age of the oldest into the metrics, as of `now`. */
  report(metrics: DataPlaneMetrics, now: number): void;
}

export function createOpenPeers(): OpenPeers {
  const open = new Crowd<{ readonly socket: TLSSocket; peer: OpenPeer }>();
  const isNoisy = createNoiseMeter();
  /** By certificate, until when, ms since the epoch: others of its service have their own. */
  const silenced = new Map<string, number>();
  return {
    *callers() {
      for (const { peer } of open) if (peer.direction === 'inbound') yield peer;
    },
    add(socket, peer) {
      const place = open.enter({ socket, peer });
      socket.once('close', () => open.leave(place));
    },
    isSilenced: ({ fingerprint256 }, now) => (silenced.get(fingerprint256) ?? 0) > now,
    sweep(refusals, now) {
      for (const [leaf, until] of silenced) if (until <= now) silenced.delete(leaf);
      for (const { socket, peer } of open) {
        if (!isNoisy(socket, rawSocket(socket).bytesRead, () => socket.bytesRead)) continue;
        silenced.set(peer.verified.peer.leaf.fingerprint256, now + SILENCE_MS);
        silence(socket, peer, refusals);
      }
    },
    report({ links, linkAge }, now) {
      links.reset();
      linkAge.reset();
      for (const { peer } of open) {
        const { direction, listener, kind, since } = peer;
        const labels = { direction, listener, kind };
        links.with(labels).value++;
        const age = linkAge.with(labels);
        age.value = Math.max(age.value, (now - since) / 1_000);
      }
    },
    byRoot() {
      const counts = new Map<string, number>();
      for (const { peer } of open) counts.set(peer.root, (counts.get(peer.root) ?? 0) + 1);
      return counts;
    },
    byPeer() {
      const counts = new Map<string, number>();
      for (const { peer } of open) {
        const { direction, verified } = peer;
        const key = `${direction} ${verified.peer.spiffeId.uri}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      return counts;
    },
    reauthorise(plane) {
      const identity = plane.identity.current();
      if (identity === undefined) return;
      const verdicts = new Map<string, PeerVerdict>();
      for (const one of [...open]) {
        const { socket, peer } = one;
        if (socket.destroyed) continue;
        const { direction, verified } = peer;
        const key = `${direction} ${verified.peer.leaf.fingerprint256}`;
        const verdict = verdicts.get(key) ?? plane.judge(peer.shown ?? peerSource(socket), identity, roleIn(direction));
        verdicts.set(key, verdict);
        if (verdict.ok) one.peer = { ...peer, root: verdict.root.fingerprint256 };
        // A connection may outlive the dates it began with: its age is bounded elsewhere.
        if (verdict.ok || DATES.has(verdict.reason)) continue;
        cut(socket, peer, verdict, plane);
      }
    },
  };
}

const SILENCE_MS = 10 * SECOND;

function silence(socket: TLSSocket, { direction, listener, verified: { peer } }: OpenPeer, refusals: Refusals): void {
  const id = peer.spiffeId.uri;
  refusals.warn(
    `${listener} records_flood ${id}`,
    {
      event: 'records_flood',
      code: 'SL-LIMIT-007',
      reason: 'records_flood',
      direction,
      listener,
      peer: { address: peer.address, id, serial: peer.leaf.serial },
      fix: `find out what ${id} runs; no TLS library does this by itself`,
    },
    `${direction} "${listener}": closed a connection with ${id}, whose TLS records carry nothing`,
  );
  socket.destroy();
}

const DATES: ReadonlySet<PeerReason> = new Set(['expired', 'issuer_expired', 'crl_stale']);

function roleIn(direction: Direction): PeerPurpose {
  return direction === 'inbound' ? 'client' : 'server';
}

function cut(
  socket: TLSSocket,
  { direction, listener, verified: { peer } }: OpenPeer,
  { reason, detail }: { readonly reason: PeerReason; readonly detail: string },
  plane: Judging,
): void {
  const id = peer.spiffeId.uri;
  const serial = peer.leaf.serial;
  plane.notices.add({ leaf: peer.leaf, role: roleIn(direction), reason });
  const closed = plane.connections.cut(direction, id, serial);
  // Kept for requests to come, or for streams: no connection of an app was on it.
  if (closed === 0) plane.metrics.closed.with({ direction, listener, reason: 'reauth' }).value++;
  socket.destroy();
  plane.log.warn(
    { event: 'peer_cut', reason, direction, listener, peer: { address: peer.address, id, serial }, why: detail },
    `${direction} "${listener}": closed an open connection with ${id}: ${detail}`,
  );
}
