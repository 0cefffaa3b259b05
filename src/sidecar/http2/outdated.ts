import type { DataPlane } from '../data-plane.ts';
import type { VerifiedPeer } from '../peer-link.ts';

/** Whether new requests should find another connection: ours has a newer identity. */
export function outdated({ identity }: VerifiedPeer, { identity: own }: DataPlane): boolean {
  const current = own.current();
  return current !== undefined && identity.generation < current.generation;
}
