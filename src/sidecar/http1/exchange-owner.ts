import type { OwnAnswer } from './failures.ts';
import type { Upstream } from './upstream.ts';
import type { Wire } from './wire.ts';

/** Bytes that arrived and were not used yet. */
export interface Pending {
  readonly buffer: Buffer;
  readonly from: number;
  readonly to: number;
}

/** The client connection, as its current exchange sees it. */
export interface ExchangeOwner {
  readonly wire: Wire;
  readonly callerFields: string;
  readonly caller: string | undefined;
  /** No further request is wanted on this connection. */
  readonly leaving: boolean;
  /** The answer to a request that may not pass. */
  denies(method: string, target: string): OwnAnswer | undefined;
  /** What arrived behind the head; it is the exchange's to use now, and to give back with `keep`. */
  takePending(): Pending;
  keep(buffer: Buffer, from: number, to: number): void;
  answer(answer: OwnAnswer, options: { readonly close: boolean; readonly withoutBody: boolean }): void;
  /** The exchange is over; `close`: and with it the connection. */
  exchangeEnded(close: boolean): void;
  /** A WebSocket was agreed: from here on bytes pass as they are. */
  tunnel(upstream: Upstream, rest: Buffer | undefined): void;
}
