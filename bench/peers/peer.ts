import type { Material } from '../material.ts';
import type { Running, Start } from '../process.ts';

export type Protocol = 'tcp' | 'http';

export interface EndContext {
  /** Empty, this end's own. */
  readonly directory: string;
  readonly material: Material;
  readonly protocol: Protocol;
  /** Loopback port to listen on. */
  readonly port: number;
  /** Loopback port to pass everything on to. */
  readonly target: number;
  /** Starts a program that ends with the chain. */
  readonly start: Start;
}

/** A proxy that can stand at either end of a chain. */
export interface Program {
  /** Undefined where it is not installed. */
  version(): string | undefined;
  /** mTLS in, plaintext out to the backend. */
  server(context: EndContext): Promise<Running>;
  /** Plaintext in, mTLS out to the server end. */
  client(context: EndContext): Promise<Running>;
}

/** Two ends that are measured together under one name. */
export interface Peer {
  readonly name: string;
  /** What it is configured for here. */
  readonly protocols: readonly Protocol[];
  readonly server: Program;
  readonly client: Program;
}
