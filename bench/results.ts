/** Bytes of memory of the two ends, shared pages in proportion. */
export interface Pss {
  readonly server: number;
  readonly client: number;
}

/** One load on one chain. Requests, bytes and CPU are of a window that leaves out its beginning and its end. */
export interface Sample {
  readonly requests: number;
  readonly bytes: number;
  /** Length of the window. */
  readonly seconds: number;
  /** Microseconds a request. */
  readonly cpuServerUs: number;
  readonly cpuClientUs: number;
  /** What of it was the kernel's. */
  readonly kernelServerUs: number;
  readonly kernelClientUs: number;
  /** Over the whole load. */
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  /** Requests that the load had answers to, and those that failed. */
  readonly answered: number;
  readonly errors: number;
  readonly pss: Pss;
}

/** One chain under one load: a sample each run. The runs of all chains of a scenario took turns. */
export interface Result {
  readonly peer: string;
  /** Before the first byte. */
  readonly pssIdle: Pss;
  readonly samples: readonly Sample[];
}

export interface Measured {
  readonly scenario: string;
  readonly results: readonly Result[];
  /** Requests a second of the same load straight to the backend, where each request is a connection. */
  readonly direct?: number;
  /** A sentence for each chain that could not be measured. */
  readonly faults: readonly string[];
}
