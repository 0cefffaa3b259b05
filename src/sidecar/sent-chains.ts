import type { TLSSocket } from 'node:tls';
import type { PeerSource } from '../pki/peer.ts';
import { peerSource } from '../pki/peer-chain.ts';

/** What a peer sent, readable when its socket is gone. */
export function keptSource(socket: TLSSocket): PeerSource {
  const { fingerprint256, chain } = peerSource(socket);
  const sent = chain();
  return { fingerprint256, chain: () => sent };
}

/** Peers with intermediates, whose chains are a few KB each. */
const MAX_CHAINS = 1_024;

/** The chains of callers that may resume: a resumed session has the leaf alone, and the path to the root may need more. */
export interface SentChains {
  /** The certificates of a peer whose handshake is done, by a whole handshake or not. */
  of(socket: TLSSocket): PeerSource;
  /** Remembers what an accepted peer sent. */
  keep(peer: PeerSource): void;
}

export function createSentChains(): SentChains {
  const chains = new Map<string, readonly Buffer[]>();
  const touch = (fingerprint: string, chain: readonly Buffer[]) => {
    chains.delete(fingerprint);
    chains.set(fingerprint, chain);
    const [oldest] = chains.keys();
    if (chains.size > MAX_CHAINS && oldest !== undefined) chains.delete(oldest);
  };
  return {
    of(socket) {
      const source = peerSource(socket);
      const { fingerprint256 = '' } = source;
      const known = socket.isSessionReused() ? chains.get(fingerprint256) : undefined;
      if (known === undefined) return source;
      touch(fingerprint256, known);
      return { fingerprint256, chain: () => known };
    },
    keep({ fingerprint256, chain }) {
      if (fingerprint256 === undefined || chains.has(fingerprint256)) return;
      const sent = chain();
      if (sent.length > 1) touch(fingerprint256, sent);
    },
  };
}
