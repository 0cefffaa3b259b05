import { parseSpiffeId } from '../pki/names.ts';
import type { DataPlane } from './data-plane.ts';
import type { ListenerPolicy } from './policy.ts';

/**
 * Judges the callers of open inbound connections again, after the rules changed, and breaks off those that may not call
 * any more: connections, HTTP between and within requests, shared connections with their streams. Their number, streams
 * counted and the connections that carry them not.
 */
export function reauthorise(
  policies: ReadonlyMap<string, Pick<ListenerPolicy, 'permits'>>,
  { connections, links, openPeers, notices, log }: DataPlane,
): number {
  const denied = (listener: string, id: string) => policies.get(listener)?.permits(parseSpiffeId(id)) === false;
  for (const { listener, verified } of openPeers.callers()) {
    const { leaf, spiffeId } = verified.peer;
    if (denied(listener, spiffeId.uri)) notices.add({ leaf, role: 'client', reason: 'not_allowed' });
  }
  const closed = connections.breakOff(({ direction, listener, peer, plaintext }) => {
    // Without an identity there is nothing to judge.
    if (direction !== 'inbound' || peer === undefined || plaintext === true || !denied(listener, peer.id))
      return undefined;
    log.warn(
      { event: 'connection_closed', reason: 'denied', code: 'SL-AUTHZ-001', direction, listener, peer },
      `${peer.id} may not call inbound "${listener}" any more: its connection was closed`,
    );
    return 'denied';
  });
  links.stopWhere(
    ({ direction, listener, verified }) => direction === 'inbound' && denied(listener, verified.peer.spiffeId.uri),
  );
  return closed;
}
