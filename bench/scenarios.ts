import type { Protocol } from './peers/peer.ts';
import type { QuantityName } from './quantities.ts';

/** What a chain is loaded with. */
export interface Work {
  /** What the proxies take the bytes for. */
  readonly protocol: Protocol;
  readonly path: string;
  readonly connections: number;
  /** A new connection for each request. */
  readonly close: boolean;
  /** Windows are as many times longer: where a p99 needs many requests. */
  readonly patience: number;
}

export interface Scenario extends Work {
  readonly name: string;
  readonly title: string;
  /** What its chart shows. */
  readonly shows: QuantityName;
}

const KEPT = { path: '/small', connections: 32, close: false, patience: 1, shows: 'cpu' as const };

const LOADS: ReadonlyArray<Omit<Scenario, 'protocol'>> = [
  { ...KEPT, name: 'small', title: '32 keep-alive connections, small answers' },
  { ...KEPT, name: '1k', title: '32 keep-alive connections, bodies of 1 KiB', path: '/1k' },
  {
    ...KEPT,
    name: 'body',
    title: '8 keep-alive connections, bodies of 1 MiB',
    path: '/1m',
    connections: 8,
    shows: 'megabytes',
  },
  { ...KEPT, name: 'connect', title: '32 clients, a new connection for each request', close: true, shows: 'requests' },
  { ...KEPT, name: 'one', title: '1 keep-alive connection, small answers', connections: 1, shows: 'p50' },
  { ...KEPT, name: 'many', title: '256 keep-alive connections, small answers', connections: 256, patience: 2 },
];

/** Each load once with proxies that take it for bytes, and once with proxies that read HTTP. */
export const SCENARIOS: readonly Scenario[] = [
  ...LOADS.map((load) => ({ ...load, name: `l4-${load.name}`, protocol: 'tcp' as const })),
  ...LOADS.map((load) => ({
    ...load,
    name: `http-${load.name}`,
    title: `${load.title}, HTTP`,
    protocol: 'http' as const,
  })),
];

/** What a smoke test runs. */
export const QUICK_SCENARIOS: readonly string[] = [
  'l4-small',
  'l4-body',
  'l4-connect',
  'http-small',
  'http-body',
  'http-connect',
];
