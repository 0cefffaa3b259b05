import { hostOf } from '../../base/listen.ts';
import type { PeerLink } from '../peer-link.ts';

/**
 * What the app is told about its caller: the certificate's identity in the format of Envoy's
 * x-forwarded-client-cert, and where and how it came. Ends with CR LF.
 */
export function callerFields({ peer, identity }: PeerLink): string {
  const { spiffeId, leaf, address } = peer;
  const certificate = [
    `By=${element(identity.spiffeId)}`,
    `Hash=${leaf.fingerprint256}`,
    `Subject=${quoted(leaf.subject)}`,
    `URI=${element(spiffeId.uri)}`,
  ].join(';');
  return [
    `x-forwarded-client-cert: ${certificate}`,
    `x-forwarded-for: ${bareHost(address)}`,
    'x-forwarded-proto: https',
    '',
  ].join('\r\n');
}

/** The same of a caller without TLS: no identity, whatever it claims. */
export function plaintextFields(address: string): string {
  return `x-forwarded-for: ${bareHost(address)}\r\nx-forwarded-proto: http\r\n`;
}

function element(value: string): string {
  return /[,;="\\]/.test(value) ? quoted(value) : value;
}

function quoted(value: string): string {
  // A certificate with other bytes was refused; a line of a head must not depend on it.
  const visible = value.replaceAll(/[^\x20-\x7e]/g, '?');
  return `"${visible.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** Without the port, which changes with each connection. */
function bareHost(address: string): string {
  return hostOf(address).replace(/^\[(.*)\]$/, '$1');
}
