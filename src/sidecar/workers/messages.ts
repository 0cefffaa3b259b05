import type { NoticeReport } from '../../api/wire-news.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { LogLevel } from '../../base/log.ts';
import type { MetricsSnapshot } from '../../base/metrics.ts';
import type { PortSharing } from '../listener.ts';
import type { Direction } from '../metrics.ts';
import type { BoundListener, InboundRules, ServingOptions, View } from '../serving.ts';
import type { TicketSecret } from '../tickets.ts';

/** What a worker thread starts with. No secrets: tools show it. */
export interface ThreadData {
  readonly options: ServingOptions;
  readonly sharing: PortSharing;
  readonly logLevel: LogLevel;
}

/** What can be asked of a worker: with what, and for what answer. */
export interface Questions {
  readonly connections: readonly [given: undefined, answer: View['connections']];
  readonly policy: readonly [given: undefined, answer: View['policy']];
  readonly plaintext: readonly [given: undefined, answer: View['plaintext']];
  readonly endpoints: readonly [given: undefined, answer: View['endpoints']];
  readonly roots: readonly [given: undefined, answer: View['roots']];
  readonly peers: readonly [given: undefined, answer: View['peers']];
  readonly metrics: readonly [given: undefined, answer: MetricsSnapshot];
  /** As `Serving.setRules`. */
  readonly rules: readonly [given: readonly InboundRules[], answer: number];
  /** As `Serving.drain`; the deadline is a message of its own. */
  readonly drain: readonly [given: Direction, answer: boolean];
}

export interface Ask<K extends keyof Questions> {
  readonly is: 'ask';
  readonly id: number;
  readonly what: K;
  readonly given: Questions[K][0];
}

/** An identity as the main thread took it up; read and judged again, for the same moment, by the worker. */
interface IdentityMessage {
  readonly is: 'identity';
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly generation: number;
  /** ms since the epoch. */
  readonly at: number;
}

/** Listeners whose ports are bound. */
export interface Bound {
  readonly inbound: readonly BoundListener[];
  readonly outbound: readonly BoundListener[];
  readonly proxy: readonly BoundListener[];
}

export type ToWorker =
  | IdentityMessage
  /** Revocation lists that the main thread has verified. */
  | { readonly is: 'crl'; readonly pem: string }
  /** So that a ticket of one worker is good with another. */
  | ({ readonly is: 'tickets' } & TicketSecret)
  | { readonly is: 'serve' }
  | { readonly is: 'leave' }
  | Ask<keyof Questions>
  /** The time to drain is over. */
  | { readonly is: 'deadline' }
  /** Nothing is served any more: the thread ends with its last socket. */
  | { readonly is: 'stop' };

/** A SidelockError: classes do not pass between threads. */
interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly why: string | undefined;
  readonly fix: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export type FromWorker =
  | ({ readonly is: 'bound' } & Bound)
  /** In place of `bound`; the thread ends. */
  | { readonly is: 'failed'; readonly failure: Failure }
  /** New connections get the identity that was sent. */
  | { readonly is: 'taken' }
  /** Certificates that were refused. */
  | { readonly is: 'refused'; readonly reports: readonly NoticeReport[] }
  | { readonly is: 'log'; readonly line: string }
  | { readonly is: 'answer'; readonly id: number; readonly answer: Questions[keyof Questions][1] };
