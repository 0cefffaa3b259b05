import type { Result, Sample } from '../../bench/results.ts';

/** One run with CPU shared evenly by the two ends. */
export function sampleOf(cpuUs: number, other: Partial<Sample> = {}): Sample {
  return {
    requests: 2_000,
    bytes: 160e6,
    seconds: 2,
    cpuServerUs: cpuUs / 2,
    cpuClientUs: cpuUs / 2,
    kernelServerUs: cpuUs / 5,
    kernelClientUs: cpuUs / 5,
    p50Us: 900,
    p95Us: 1_200,
    p99Us: 1_500,
    answered: 3_000,
    errors: 0,
    pss: { server: 50e6, client: 60e6 },
    ...other,
  };
}

export function resultOf(peer: string, ...samples: readonly Sample[]): Result {
  return { peer, pssIdle: { server: 30e6, client: 31e6 }, samples };
}
