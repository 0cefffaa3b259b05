import type { DataPlane } from '../data-plane.ts';
import type { VerifiedPeer } from '../peer-link.ts';

/** Whether new requests should find another connection: ours has a newer identity, or one of the two ended. */
export function outdated({ identity, peer }: VerifiedPeer, { identity: own, clock }: DataPlane): boolean {
  const current = own.current();
  return (
    (current !== undefined && identity.generation < current.generation) ||
    clock.now() >= Math.min(identity.notAfter, peer.leaf.notAfter)
  );
}
