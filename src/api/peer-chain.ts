import type { TLSSocket } from 'node:tls';

/** Longer chains are refused anyway, and a chain may loop. */
const MAX_CHAIN = 12;

/** DER of the certificates a peer showed, leaf first; empty when it showed none. */
export function peerChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_CHAIN) {
    const der = certificate.raw;
    if (chain.some((known) => known.equals(der))) break;
    chain.push(der);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
