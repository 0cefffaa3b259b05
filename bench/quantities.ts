import type { Result, Sample } from './results.ts';

interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  readonly of: (sample: Sample) => number;
}

/** What is read from a sample and compared. CPU and handshakes are of one end, or of both together. */
export const QUANTITIES = {
  cpu: lower('CPU a request', 'us', (s) => s.cpuServerUs + s.cpuClientUs),
  cpuServer: lower('CPU a request, server end', 'us', (s) => s.cpuServerUs),
  cpuClient: lower('CPU a request, client end', 'us', (s) => s.cpuClientUs),
  kernel: lower('CPU in the kernel a request', 'us', (s) => s.kernelServerUs + s.kernelClientUs),
  p50: lower('p50', 'ms', (s) => s.p50Us / 1_000),
  p95: lower('p95', 'ms', (s) => s.p95Us / 1_000),
  p99: lower('p99', 'ms', (s) => s.p99Us / 1_000),
  megabytes: higher('bytes', 'MB/s', (s) => s.bytes / s.seconds / 1e6),
  requests: higher('requests', 'a second', (s) => s.requests / s.seconds),
  // Where each request is a connection and each connection a handshake: all that a connection costs counts as its cost.
  handshakes: higher('full handshakes', 'a CPU second', (s) => 2e6 / (s.cpuServerUs + s.cpuClientUs)),
  handshakesServer: higher('full handshakes, server end', 'a CPU second', (s) => 1e6 / s.cpuServerUs),
  handshakesClient: higher('full handshakes, client end', 'a CPU second', (s) => 1e6 / s.cpuClientUs),
} as const satisfies Record<string, Quantity>;

export type QuantityName = keyof typeof QUANTITIES;

/** One value a run. */
export function valuesOf({ samples }: Result, name: QuantityName): number[] {
  return samples.map(QUANTITIES[name].of);
}

function lower(title: string, unit: string, of: Quantity['of']): Quantity {
  return { title, unit, better: 'lower', of };
}

function higher(title: string, unit: string, of: Quantity['of']): Quantity {
  return { title, unit, better: 'higher', of };
}
