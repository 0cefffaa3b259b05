import { SECOND } from '../../base/clock.ts';
import { ageOf, endOfCertificates } from '../age.ts';
import type { DataPlane } from '../data-plane.ts';
import type { PeerLinkFailure } from '../endpoints/endpoint.ts';
import type { Load } from '../load.ts';
import type { PeerLink } from '../peer-link.ts';
import type { Upstream } from '../upstream.ts';
import type { UpstreamFailure } from './failures.ts';
import type { OpenedLink, OpenLink } from './upstream.ts';

/** For how long a link to that peer is given requests. */
type Lasting = (peer: PeerLink) => Pick<OpenedLink, 'usable' | 'expiresAt'>;

/** How requests of the app reach the endpoints of an upstream, within its limits. */
export function toPeer(upstream: Upstream, lasting: Lasting) {
  const { options, endpoints, circuit } = upstream;
  const open: OpenLink = (load, done) => {
    let ours = false;
    upstream.connect(
      {
        left: () => ours,
        failed: (failure) => done(failureOf(failure)),
        ready: (peer, endpoint) => {
          // From here on it counts requests.
          endpoint.active--;
          done({
            link: peer.link,
            load: endpoint,
            ...lasting(peer),
            leaving: () => {
              ours = true;
            },
          });
        },
      },
      load,
    );
  };
  return {
    direction: 'outbound',
    listener: options.name,
    entered: () => circuit.requests.enter(),
    left: () => circuit.requests.leave(),
    pick: (beside: Load | undefined) => endpoints.pick(beside === undefined ? undefined : new Set([beside])),
    open,
  } as const;
}

/**
 * A connection to this peer, which begins now, lasts while our identity does; one under another root than ours a moment.
 * A stream of a connection that waits for its successor has an older identity from the start, and lasts until that stands.
 */
export function lastingOf(
  { identity, peer, kind, left }: Pick<PeerLink, 'identity' | 'peer' | 'kind' | 'left'>,
  plane: Pick<DataPlane, 'clock' | 'identity' | 'limits' | 'random'>,
): Pick<OpenedLink, 'usable' | 'expiresAt'> {
  const opened = plane.clock.now();
  const since = kind === 'shared' ? plane.identity.current() : identity;
  // While a root follows another, ours is of the new one first: the peer's next certificate is looked for.
  const ofOtherRoot = peer.root !== identity.material.root.fingerprint256;
  const old = () => ofOtherRoot && plane.clock.now() - opened > OTHER_ROOT_MS;
  return {
    usable: () => plane.identity.current() === since && left?.() !== true && !old(),
    expiresAt: retiresAt({ identity, peer }, plane),
  };
}

/** How long a connection to a peer under another root than ours is used. */
const OTHER_ROOT_MS = 5 * SECOND;

/** Until when a connection to this peer, which begins now, is given requests; ms since the epoch. */
function retiresAt(
  peer: Pick<PeerLink, 'identity' | 'peer'>,
  { clock, limits, random }: Pick<DataPlane, 'clock' | 'limits' | 'random'>,
): number {
  const now = clock.now();
  const { maxLifetimeMs } = limits;
  return ageOf({ now, notAfter: endOfCertificates(peer), orderly: true }, { maxLifetimeMs, graceMs: 0, random })
    .retireAt;
}

/** Why there is no connection, as a request is told. */
export function failureOf({ stage, code }: PeerLinkFailure): UpstreamFailure {
  switch (stage) {
    case 'identity':
      return { status: 503, reason: 'no_identity', code, sentence: 'this sidecar has no identity yet' };
    case 'dial':
      return { status: 503, reason: 'unreachable', code, sentence: 'the peer cannot be reached' };
    case 'handshake':
      return { status: 502, reason: 'handshake_failed', code, sentence: 'no mTLS connection to the peer' };
  }
}
