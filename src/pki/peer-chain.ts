import type { X509Certificate } from 'node:crypto';
import type { PeerSource } from './peer.ts';

/** One more than is judged, so that too many are seen as too many. */
const MAX_WALK = 17;

/** What of a TLSSocket is asked. */
interface Peer {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/**
 * The certificates of a peer whose handshake is done, for a `PeerVerifier`: the fingerprint at once, the chain on demand.
 *
 * `getPeerX509Certificate().issuerCertificate` walks the list *as the peer sent it*, out of order, with duplicates and
 * strangers, until the socket is destroyed (seen on Node 26.10: both sides, TLS 1.2 and 1.3). `getPeerCertificate(true)`
 * does not: it reorders by issuer, leaves strangers out, and on a server adds the root from `ca`. A resumed session has
 * the leaf alone.
 */
export function peerSource(socket: Peer): PeerSource {
  const leaf = socket.getPeerX509Certificate();
  return {
    fingerprint256: leaf?.fingerprint256,
    chain() {
      const chain: Buffer[] = [];
      for (let at = leaf; at !== undefined && chain.length < MAX_WALK; at = at.issuerCertificate) chain.push(at.raw);
      return chain;
    },
  };
}

/** DER of the certificates a peer sent, in its order, leaf first; empty when it sent none. */
export function peerChain(socket: Peer): readonly Buffer[] {
  return peerSource(socket).chain();
}
