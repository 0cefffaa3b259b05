/** What the last operations of one kind took. */
export interface Timings {
  observe(ms: number): void;
  summary(): TimingSummary;
}

/** Percentiles of the last 1000, in ms; all 0 before the first. */
export interface TimingSummary {
  readonly count: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
}

const KEPT = 1000;

export function createTimings(): Timings {
  const last: number[] = [];
  let count = 0;
  return {
    observe(ms) {
      last[count++ % KEPT] = ms;
    },
    summary() {
      const sorted = last.toSorted((a, b) => a - b);
      const at = (share: number) => Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * 1000) / 1000;
      return { count, p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) };
    },
  };
}
