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
  readonly figure: 'cpuUs' | 'megabytesPerSecond' | 'requestsPerSecond' | 'p50Us' | 'p99Us';
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
    budgets: [
      { figure: 'cpuUs', against: ['ghostunnel'], ratio: 0.55 },
      { figure: 'cpuUs', against: ['haproxy'], ratio: 0.7 },
    ],
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
    budgets: [{ figure: 'requestsPerSecond', against: ['ghostunnel'], ratio: 15 }],
  },
  {
    name: 'http-small',
    title: '32 keep-alive connections, small answers, read as HTTP',
    path: '/small',
    connections: 32,
    protocol: 'http',
    close: false,
    budgets: [{ figure: 'cpuUs', against: ['haproxy'], ratio: 0.65 }],
  },
  {
    name: 'http-connect',
    title: '32 clients, a new connection for each request, read as HTTP',
    path: '/small',
    connections: 32,
    protocol: 'http',
    close: true,
    budgets: [{ figure: 'requestsPerSecond', against: ['ghostunnel'], ratio: 40 }],
  },
  {
    name: 'http-body',
    title: '8 keep-alive connections, bodies of 1 MiB, read as HTTP',
    path: '/body',
    connections: 8,
    protocol: 'http',
    close: false,
    budgets: [{ figure: 'megabytesPerSecond', against: ['haproxy', 'ghostunnel'], ratio: 0.85 }],
  },
  {
    name: 'http-one',
    title: '1 keep-alive connection, small answers, read as HTTP',
    path: '/small',
    connections: 1,
    protocol: 'http',
    close: false,
    budgets: [{ figure: 'p50Us', against: ['haproxy'], ratio: 1.05 }],
  },
  {
    name: 'http-many',
    title: '256 keep-alive connections, small answers, read as HTTP',
    path: '/small',
    connections: 256,
    protocol: 'http',
    close: false,
    budgets: [
      { figure: 'cpuUs', against: ['haproxy'], ratio: 0.45 },
      { figure: 'p99Us', against: ['haproxy'], ratio: 0.25 },
    ],
  },
];

/** What a smoke test leaves out. */
export const LONG: readonly string[] = ['http-one', 'http-many'];
