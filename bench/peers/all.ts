import { ghostunnel } from './ghostunnel.ts';
import { haproxy, haproxyH2 } from './haproxy.ts';
import { nginx } from './nginx.ts';
import { httpProxy, undici } from './node.ts';
import type { Peer, Program, Protocol } from './peer.ts';
import { sidelock, sidelockOwn } from './sidelock.ts';

const BOTH: readonly Protocol[] = ['tcp', 'http'];

/** In the order of tables and charts. */
export const PEERS: readonly Peer[] = [
  alike('sidelock', BOTH, sidelock),
  alike('sidelock-own', BOTH, sidelockOwn),
  // Towards anyone else sidelock has `streams` on, as anybody would, and finds that the other side does not have them.
  { name: 'from-ghostunnel', protocols: BOTH, client: ghostunnel, server: sidelock },
  { name: 'to-ghostunnel', protocols: BOTH, client: sidelock, server: ghostunnel },
  { name: 'to-haproxy', protocols: BOTH, client: sidelock, server: haproxy },
  alike('haproxy', BOTH, haproxy),
  alike('haproxy-h2', ['http'], haproxyH2),
  alike('nginx', BOTH, nginx),
  alike('ghostunnel', BOTH, ghostunnel),
  alike('http-proxy', ['http'], httpProxy),
  alike('undici', ['http'], undici),
];

/** A smoke test has one of each program that a budget names. */
export const QUICK_PEERS: readonly string[] = ['sidelock', 'haproxy', 'ghostunnel'];

/** Peers whose curves a growth run draws. */
export const GROWTH_PEERS: readonly string[] = ['sidelock', 'sidelock-own', 'haproxy', 'ghostunnel'];

export function isInstalled({ client, server }: Peer): boolean {
  return client.version() !== undefined && server.version() !== undefined;
}

export function usesSidelock({ client, server }: Peer): boolean {
  return [client, server].some((program) => program === sidelock || program === sidelockOwn);
}

function alike(name: string, protocols: readonly Protocol[], program: Program): Peer {
  return { name, protocols, client: program, server: program };
}
