import { BODY_PATHS } from './backend.ts';
import type { Protocol } from './peers/peer.ts';
import type { Work } from './scenarios.ts';

/** What grows along a curve, and what a chain is loaded with at each of its points. */
export interface Curve {
  readonly name: string;
  readonly title: string;
  readonly protocol: Protocol;
  readonly axis: 'connections' | 'KiB a body';
  readonly points: ReadonlyArray<{ readonly x: number; readonly work: Work }>;
}

const CONNECTIONS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

export const CURVES: readonly Curve[] = [
  connections('l4', 'tcp'),
  bodies('l4', 'tcp'),
  connections('http', 'http'),
  bodies('http', 'http'),
];

function connections(prefix: string, protocol: Protocol): Curve {
  return {
    name: `${prefix}-connections`,
    title: `1 to 1,024 keep-alive connections, small answers, ${protocol.toUpperCase()}`,
    protocol,
    axis: 'connections',
    points: CONNECTIONS.map((n) => ({ x: n, work: kept(protocol, '/small', n) })),
  };
}

function bodies(prefix: string, protocol: Protocol): Curve {
  return {
    name: `${prefix}-bodies`,
    title: `bodies of 1 to 64 KiB, 32 keep-alive connections, ${protocol.toUpperCase()}`,
    protocol,
    axis: 'KiB a body',
    points: BODY_PATHS.map((path) => ({ x: Number.parseInt(path.slice(1), 10), work: kept(protocol, path, 32) })),
  };
}

function kept(protocol: Protocol, path: string, connections: number): Work {
  return { protocol, path, connections, close: false, patience: 1 };
}
