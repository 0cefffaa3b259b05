import type { Clock } from '../base/clock.ts';
import { type AgeLimits, ageOf, endOfCertificates } from './age.ts';
import type { IdentityReader } from './identity.ts';
import type { DataPlaneMetrics, Direction } from './metrics.ts';
import type { LinkCloseReason } from './mux/reasons.ts';
import type { PeerLink, VerifiedPeer } from './peer-link.ts';

/** One mTLS connection between two sidecars that carries streams. */
export interface SharedLink {
  readonly direction: Direction;
  readonly listener: string;
  readonly verified: VerifiedPeer;
  /** False when new streams should go elsewhere. */
  readonly open: boolean;
  readonly streams: number;
  /** Frames received and sent so far. */
  readonly frames: { readonly received: number; readonly sent: number };
  /** Bytes that the peer may have on their way to its streams, and those that wait here for a reader. */
  readonly window: number;
  readonly held: number;
  /** Opens a stream. Only while `open`. */
  stream(): PeerLink;
  /** Whether the peer wants another connection in its place. */
  readonly asked: boolean;
  /** Another is to take its place: whoever connected makes it, then leaves this one; who accepted this one asks for it. */
  replace(graceMs: number): void;
  /** New streams go elsewhere; this connection closes after the last of its own, or after `graceMs`. Once. */
  goAway(graceMs: number): void;
  /** Time goes on. True when the connection is gone. */
  tick(now: number): boolean;
  /** Ends at once, with every stream. */
  stop(): void;
}

interface LinksOptions extends Pick<AgeLimits, 'maxLifetimeMs' | 'random'> {
  readonly identity: IdentityReader;
  readonly metrics: DataPlaneMetrics;
  readonly clock: Clock;
  /** How long a connection may go on for the streams it has after it was replaced, ms. */
  readonly graceMs: number;
}

/** The shared connections of the sidecar, of both directions. */
export interface Links {
  add(link: SharedLink): void;
  /** The link has no streams any more. */
  ended(link: SharedLink, reason: LinkCloseReason): void;
  /** Tells the peers of this direction to open no more streams. */
  goAway(direction: Direction): void;
  /** Time goes on: keepalive, ends of certificates, grace. Called about once a second. */
  sweep(): void;
  /** Copies counts into the metrics. */
  report(): void;
  stopAll(): void;
  /** Ends those for which `test` is true, with every stream. */
  stopWhere(test: (link: SharedLink) => boolean): void;
}

/** With each new identity, connections of the one before make room for new ones. */
export function createLinks({ identity, metrics, clock, ...limits }: LinksOptions): Links {
  const { graceMs } = limits;
  const live = new Map<SharedLink, { received: number; sent: number; readonly retireAt: number }>();
  const closing = new Set<SharedLink>();

  const retire = () => {
    const now = clock.now();
    const generation = identity.current()?.generation ?? 0;
    for (const [link, { retireAt }] of live) {
      const isOld = link.verified.identity.generation < generation || now >= retireAt;
      if (link.open && (isOld || link.asked)) link.replace(graceMs);
    }
  };
  const reportOne = ({ direction, listener, frames }: SharedLink, reported: { received: number; sent: number }) => {
    const count = (way: string, n: number) => {
      metrics.frames.with({ direction, listener, way }).value += n;
    };
    count('rx', frames.received - reported.received);
    count('tx', frames.sent - reported.sent);
    Object.assign(reported, frames);
  };
  identity.subscribe(retire);

  return {
    add(link) {
      const age = ageOf({ now: clock.now(), notAfter: endOfCertificates(link.verified), orderly: true }, limits);
      live.set(link, { received: 0, sent: 0, retireAt: age.retireAt });
    },
    ended(link, reason) {
      const reported = live.get(link);
      if (reported === undefined) return;
      reportOne(link, reported);
      live.delete(link);
      closing.add(link);
      const { direction, listener } = link;
      metrics.linksClosed.with({ direction, listener, reason }).value++;
    },
    goAway(direction) {
      for (const link of live.keys()) if (link.direction === direction) link.goAway(graceMs);
    },
    sweep() {
      retire();
      const now = clock.now();
      for (const link of live.keys()) link.tick(now);
      for (const link of closing) if (link.tick(now)) closing.delete(link);
    },
    report() {
      const { linkStreams, linkWindow, linkHeld } = metrics;
      for (const family of [linkStreams, linkWindow, linkHeld]) family.reset();
      for (const [link, reported] of live) {
        const { direction, listener, streams, window, held } = link;
        const labels = { direction, listener };
        linkStreams.with(labels).value += streams;
        linkWindow.with(labels).value += window;
        linkHeld.with(labels).value += held;
        reportOne(link, reported);
      }
    },
    stopAll() {
      for (const link of [...live.keys(), ...closing]) link.stop();
    },
    stopWhere(test) {
      for (const link of [...live.keys()].filter(test)) link.stop();
    },
  };
}
