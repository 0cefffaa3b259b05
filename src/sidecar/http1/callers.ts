import type { Socket } from 'node:net';
import type { DataPlane } from '../data-plane.ts';
import { remoteName } from '../dial.ts';
import type { PeerLink } from '../peer-link.ts';
import { plaintextInfo } from '../permissive.ts';
import type { ListenerPolicy } from '../policy.ts';
import { socketLink } from '../socket-link.ts';
import { peerInfo } from '../start-relay.ts';
import { callerFields, plaintextFields } from './caller-fields.ts';

/** Who calls, as a connection of any version of HTTP is told: a peer that was verified and allowed. */
export function verifiedCaller(caller: PeerLink, local: () => string, policy: ListenerPolicy) {
  return {
    ...peerInfo(caller, local),
    link: caller.link,
    callerFields: callerFields(caller),
    denies: (method: string, target: string) => policy.request(caller, method, target),
  };
}

/** A caller without TLS, whom nobody vouches for. */
export function plaintextCaller(raw: Socket, local: () => string, plane: DataPlane) {
  return {
    ...plaintextInfo(raw, local),
    link: socketLink(raw, plane),
    callerFields: plaintextFields(remoteName(raw)),
    denies: undefined,
  };
}

/** The app beside us. */
export function localCaller(local: Socket, plane: DataPlane) {
  return {
    link: socketLink(local, plane),
    callerFields: '',
    denies: undefined,
    kind: undefined,
    peer: undefined,
    self: undefined,
    tls: undefined,
    local: () => remoteName(local),
  };
}
