import type { IncomingMessage } from 'node:http';
import { parseSpiffeId } from '../pki/names.ts';
import { type PeerIdentity, peerIdentityOf } from './peer.ts';
import { callerOf } from './server.ts';

export interface RequestPeerOptions {
  /**
   * `direct`: the server was attached by secureContextFor. `xfcc`: a sidecar stands before it and says in
   * x-forwarded-client-cert who calls; everything else that reaches the port could say so too, so bind it to loopback.
   */
  readonly mode: 'direct' | 'xfcc';
}

/** Who sent a request; null when nobody vouches for anyone. */
export function requestPeer(request: IncomingMessage, { mode }: RequestPeerOptions): PeerIdentity | null {
  if (mode === 'direct') return callerOf(request.socket) ?? null;
  if (!isLoopback(request.socket.remoteAddress)) return null;
  const field = request.headers['x-forwarded-client-cert'];
  return typeof field === 'string' ? readForwardedCertificate(field) : null;
}

/**
 * The one element that a sidecar of ours writes, in Envoy's form `Key=value;Key="quoted value"`. Null for anything
 * else, two elements included: of those the first is the word of the caller.
 */
function readForwardedCertificate(field: string): PeerIdentity | null {
  const parts = new Map<string, string>();
  let rest = field;
  while (rest !== '') {
    const [whole, key = '', quoted, plain = ''] = ELEMENT.exec(rest) ?? [];
    if (whole === undefined || parts.has(key)) return null;
    parts.set(key, quoted?.replaceAll(/\\(.)/g, '$1') ?? plain);
    rest = rest.slice(whole.length);
  }
  const [uri, hash] = [parts.get('URI'), parts.get('Hash')];
  if (uri === undefined || hash === undefined || !/^[0-9a-f]{64}$/.test(hash)) return null;
  try {
    return peerIdentityOf(parseSpiffeId(uri), hash);
  } catch {
    return null;
  }
}

const ELEMENT = /^([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=\\]*))(?:;(?=.)|$)/;

function isLoopback(address: string | undefined): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address ?? '');
}
