import type { OwnAnswer } from '../http1/failures.ts';
import type { Rejection } from '../http1/reasons.ts';
import type { RequestRecord } from '../http1/relay-context.ts';
import type { Direction } from '../metrics.ts';
import type { Http2Limits, HttpLimits } from '../options.ts';
import type { CloseReason } from './reasons.ts';

/** What all HTTP/2 connections of one listener share. */
export interface Http2Context {
  readonly direction: Direction;
  readonly limits: HttpLimits;
  readonly http2: Http2Limits;
  /** How long a gRPC stream may be silent, ms: theirs are made to be kept open. */
  readonly streamIdleMs: number;
  /** How long a connection that should be used no more may go on for the streams it has, ms. */
  readonly graceMs: number;
  /** ms since the epoch. */
  readonly now: () => number;
  readonly newRequestId: () => string;
  readonly newTraceparent: (() => string) | undefined;
  /** `caller`: SPIFFE id, where there is one. */
  readonly rejected: (
    reason: Rejection | 'response_bad_field_value' | 'response_head_too_large',
    caller: string | undefined,
  ) => void;
  readonly done: (record: RequestRecord) => void;
  /** We ended a connection for what its other side did. */
  readonly flooded: (reason: CloseReason, caller: string | undefined) => void;
}

/** The caller on one connection. */
export interface Caller {
  /** Field lines about it that go to the app, each with its end. */
  readonly callerFields: string;
  /** Its SPIFFE id, inbound. */
  readonly caller: string | undefined;
  /** Looks at each request before anything of it goes on; undefined where the app may ask for anything. */
  readonly denies: ((method: string, target: string) => OwnAnswer | undefined) | undefined;
}
