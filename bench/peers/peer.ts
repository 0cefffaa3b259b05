import type { Material } from '../material.ts';
import type { Running, Start } from '../process.ts';

export interface ChainContext {
  /** Empty, this chain's own. */
  readonly directory: string;
  readonly material: Material;
  readonly protocol: 'tcp' | 'http';
  /** Loopback port of the plaintext backend. */
  readonly backendPort: number;
  /** Starts a program that ends with the chain. */
  readonly start: Start;
}

/** A running chain: plaintext in on \`port\`, mTLS between the two processes, plaintext out to the backend. */
export interface Chain {
  readonly port: number;
  readonly server: Running;
  readonly client: Running;
}

export interface Peer {
  readonly name: string;
  /** What it is configured for here. */
  readonly protocols: readonly string[];
  /** Version in a few words, or undefined where it is not installed. */
  version(): string | undefined;
  start(context: ChainContext): Promise<Chain>;
}
