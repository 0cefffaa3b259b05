import type { Clock, Random } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import type { Connections } from './connections.ts';
import type { Resolver } from './endpoints/resolver.ts';
import type { HandshakeBudget } from './handshake-budget.ts';
import type { IdentityReader } from './identity.ts';
import type { PeerJudge } from './judge.ts';
import type { Links } from './links.ts';
import type { PortSharing } from './listener.ts';
import type { DataPlaneMetrics } from './metrics.ts';
import type { NoticesOut } from './notices-out.ts';
import type { OpenPeers } from './open-peers.ts';
import type { SidecarLimits } from './options.ts';
import type { Pace } from './pace.ts';
import type { Refusals } from './refusals.ts';
import type { SentChains } from './sent-chains.ts';
import type { TlsContexts } from './tls.ts';

/** What the inbound and outbound listeners of one sidecar share. */
export interface DataPlane {
  readonly identity: IdentityReader;
  readonly contexts: TlsContexts;
  readonly judge: PeerJudge;
  readonly chains: SentChains;
  /** The newest revocation lists. */
  readonly crl: () => CrlSet | undefined;
  readonly connections: Connections;
  readonly handshakeBudget: HandshakeBudget;
  /** Of handshakes that begin. */
  readonly pace: Pace;
  readonly links: Links;
  readonly openPeers: OpenPeers;
  readonly refusals: Refusals;
  readonly notices: Pick<NoticesOut, 'add'>;
  readonly metrics: DataPlaneMetrics;
  readonly limits: SidecarLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Where short patterns stand. */
  readonly trustDomain: string;
  readonly namespace: string;
  readonly sharing: PortSharing;
  readonly accessLog: number;
  readonly tracing: boolean;
  /** False forces the portable reading path; for tests that run the relay on both. */
  readonly userBuffers: boolean;
  /** Whether peers that can are asked to carry many connections as streams of one. */
  readonly streams: boolean;
  readonly resolver: Resolver;
  /** Between two questions for a name of an outbound, ms. */
  readonly dnsRefreshMs: number;
  /** Aborts when the sidecar ends. */
  readonly stopping: AbortSignal;
}
