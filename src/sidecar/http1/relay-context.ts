import type { Direction } from '../metrics.ts';
import type { HttpLimits } from '../options.ts';
import type { Pool } from './pool.ts';
import type { Rejection, ResponseFault } from './reasons.ts';

/** What became of one request. */
export interface RequestRecord {
  readonly method: string;
  readonly target: string;
  /** 0 when the client left before there was a response. */
  readonly status: number;
  readonly requestId: string;
  readonly durationMs: number;
  /** Why we answered ourselves, if we did. */
  readonly reason: string | undefined;
  /** SPIFFE id of the caller, inbound. */
  readonly caller: string | undefined;
}

/** What all connections of one HTTP listener share. */
export interface RelayContext {
  readonly direction: Direction;
  readonly pool: Pool;
  readonly limits: HttpLimits;
  /** ms since the epoch. */
  readonly now: () => number;
  readonly newRequestId: () => string;
  readonly newTraceparent: (() => string) | undefined;
  /** `caller`: SPIFFE id, where there is one. */
  readonly rejected: (reason: Rejection | `response_${ResponseFault}`, caller: string | undefined) => void;
  /** A request begins; false when it is one too many. `done` follows in any case. */
  readonly entered: (() => boolean) | undefined;
  readonly done: (record: RequestRecord) => void;
}
