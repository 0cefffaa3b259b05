export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly path: '/small' | '/body';
  readonly connections: number;
  /** What the proxies take the bytes for. */
  readonly protocol: 'tcp' | 'http';
  /** A new connection for each request. */
  readonly close: boolean;
  /** What the design allows sidelock, in the same run, as ratios to peers. */
  readonly budgets: readonly Budget[];
}

export interface Budget {
  readonly figure: 'cpuUs' | 'megabytesPerSecond';
  /** Compared with the best of these that ran. */
  readonly against: readonly string[];
  readonly ratio: number;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'l4-small',
    title: '32 keep-alive connections, small answers',
    path: '/small',
    connections: 32,
    protocol: 'tcp',
    close: false,
    budgets: [{ figure: 'cpuUs', against: ['ghostunnel'], ratio: 0.55 }],
  },
  {
    name: 'l4-body',
    title: '8 keep-alive connections, bodies of 1 MiB',
    path: '/body',
    connections: 8,
    protocol: 'tcp',
    close: false,
    budgets: [{ figure: 'megabytesPerSecond', against: ['haproxy', 'ghostunnel'], ratio: 0.85 }],
  },
  {
    name: 'l4-connect',
    title: '32 clients, a new connection for each request',
    path: '/small',
    connections: 32,
    protocol: 'tcp',
    close: true,
    budgets: [{ figure: 'cpuUs', against: ['ghostunnel'], ratio: 0.1 }],
  },
  {
    name: 'http-small',
    title: '32 keep-alive connections, small answers, read as HTTP',
    path: '/small',
    connections: 32,
    protocol: 'http',
    close: false,
    budgets: [{ figure: 'cpuUs', against: ['haproxy'], ratio: 1.15 }],
  },
  {
    name: 'http-connect',
    title: '32 clients, a new connection for each request, read as HTTP',
    path: '/small',
    connections: 32,
    protocol: 'http',
    close: true,
    budgets: [],
  },
  {
    name: 'http-body',
    title: '8 keep-alive connections, bodies of 1 MiB, read as HTTP',
    path: '/body',
    connections: 8,
    protocol: 'http',
    close: false,
    budgets: [{ figure: 'megabytesPerSecond', against: ['haproxy'], ratio: 0.85 }],
  },
];
