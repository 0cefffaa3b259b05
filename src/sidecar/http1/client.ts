import type { Cell } from '../../base/metrics.ts';
import type { Link } from '../link.ts';
import type { CloseReason } from '../metrics.ts';
import { type Relay, relay } from '../relay.ts';
import { Exchange } from './exchange.ts';
import type { ExchangeOwner, Pending } from './exchange-owner.ts';
import { answerText, type OwnAnswer } from './failures.ts';
import type { HeadReader } from './head.ts';
import { REJECTIONS, type Rejection } from './reasons.ts';
import type { RelayContext } from './relay-context.ts';
import { type RequestHead, readRequest, requestReader } from './request.ts';
import type { Upstream } from './upstream.ts';
import { Wire, type WireUser } from './wire.ts';

export interface ClientOptions {
  readonly link: Link;
  /** Field lines about the caller that go to the app, each with its end; made once a connection. */
  readonly callerFields: string;
  /** SPIFFE id of the caller, inbound. */
  readonly caller: string | undefined;
  /** Looks at each request before anything of it goes on; undefined where the app may ask for anything. */
  readonly denies: ((method: string, target: string) => OwnAnswer | undefined) | undefined;
  /** Where each request goes, or the answer to one that goes nowhere; all to the listener's upstream unless given. */
  readonly route?: ((head: RequestHead) => RelayContext | OwnAnswer) | undefined;
  /** Bytes from the peer and to it. */
  readonly received: Cell;
  readonly sent: Cell;
  readonly closed: (error: Error | undefined) => void;
}

/**
 * One client connection: a loop of requests, each forwarded when the one before it was answered (RFC 9112 9.3). While
 * one is under way, at most one read of later bytes is kept.
 */
export class Client implements WireUser, ExchangeOwner, Relay {
  readonly wire: Wire;
  readonly callerFields: string;
  readonly caller: string | undefined;
  readonly #context: RelayContext;
  readonly #options: ClientOptions;
  readonly #reader: HeadReader;
  #exchange: Exchange | undefined;
  #tunnel: Relay | undefined;
  /** Arrived while a request was under way. */
  #rest: Buffer | undefined;
  /** What of the read under way is not used yet. */
  #pending: Pending | undefined;
  /** The answer to a request that leads nowhere. */
  #unrouted: OwnAnswer | undefined;
  /** Requests are being taken off a read: what is left of it is `#pending`. */
  #reading = false;
  leaving = false;
  /** We said our last; what still comes is thrown away. */
  #lingering = false;
  /** ms since the epoch of the last change of what we wait for; 0 until it is looked at. */
  #since = 0;
  #wasBegun = false;

  constructor(context: RelayContext, options: ClientOptions) {
    this.#context = context;
    this.#options = options;
    this.callerFields = options.callerFields;
    this.caller = options.caller;
    this.#reader = requestReader(context.direction);
    const inbound = context.direction === 'inbound';
    const { received, sent } = options;
    this.wire = new Wire(options.link, this, inbound ? received : sent, inbound ? sent : received);
    this.wire.open();
  }

  bytes(buffer: Buffer, from: number, to: number): void {
    if (this.#lingering) return;
    if (this.#exchange === undefined && this.#rest === undefined) this.#input(buffer, from, to);
    else this.#keepRest(buffer, from, to);
  }

  ended(): void {
    if (this.#lingering) return;
    if (this.#exchange !== undefined) {
      // As nginx and Envoy take it: who closes while it is being answered does not want the answer.
      this.#exchange.abort();
      this.#exchange = undefined;
      this.wire.reset();
    } else this.#finish();
  }

  closed(error: Error | undefined): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.abort();
    this.#options.closed(error);
  }

  denies(method: string, target: string): OwnAnswer | undefined {
    return this.#unrouted ?? this.#options.denies?.(method, target);
  }

  takePending(): Pending {
    const pending = this.#pending ?? { buffer: this.#rest ?? NOTHING, from: 0, to: this.#rest?.length ?? 0 };
    this.#pending = this.#rest = undefined;
    return pending;
  }

  keep(buffer: Buffer, from: number, to: number): void {
    if (this.#reading) this.#pending = { buffer, from, to };
    else if (from < to) this.#keepRest(buffer, from, to);
  }

  answer(answer: OwnAnswer, options: { readonly close: boolean; readonly withoutBody: boolean }): void {
    this.wire.send(answerText(answer, options));
  }

  exchangeEnded(close: boolean): void {
    this.#exchange = undefined;
    this.#since = 0;
    if (close || this.leaving) {
      this.#finish();
      return;
    }
    if (this.#reading) return;
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#input(rest, 0, rest.length);
    if (this.#rest === undefined && !this.#lingering) this.wire.go();
  }

  tunnel(upstream: Upstream, rest: Buffer | undefined): void {
    this.#exchange = undefined;
    const { received, sent } = this.#options;
    const early = this.#rest;
    this.#rest = undefined;
    const mine = this.wire.handOver(early);
    const theirs = upstream.wire.handOver(rest);
    const inbound = this.#context.direction === 'inbound';
    const [first, second] = inbound ? [mine, theirs] : [theirs, mine];
    const caller = inbound ? 'first' : 'second';
    const { load } = upstream;
    load.active++;
    this.#tunnel = relay(first, second, { received, sent, caller, closed: () => void load.active-- });
  }

  waiting(): number {
    return this.#tunnel?.waiting() ?? this.#exchange?.waiting ?? 0;
  }

  takeActivity(): boolean {
    if (this.#tunnel !== undefined) return this.#tunnel.takeActivity();
    const { active } = this.wire;
    this.wire.active = false;
    this.#tick(this.#context.now(), active);
    return active;
  }

  end(): void {
    this.leaving = true;
    if (this.#tunnel !== undefined) this.#tunnel.end();
    else if (this.#exchange === undefined) this.#finish();
  }

  /** The next answer says close; a client that asks nothing more leaves, or is idle for too long. */
  retire(quietMs: number): void {
    this.leaving = true;
    this.#tunnel?.retire(quietMs);
  }

  /** Why what is under way ends, as it is about to be told. */
  blame(reason: CloseReason): void {
    this.#exchange?.blame(reason);
  }

  reset(reason?: CloseReason): void {
    if (reason !== undefined) this.blame(reason);
    if (this.#tunnel !== undefined) this.#tunnel.reset();
    else this.wire.reset();
  }

  /** Takes requests off bytes [from, to), until one of them has to be waited for. */
  #input(buffer: Buffer, from: number, to: number): void {
    this.#reading = true;
    let at = from;
    while (at < to && !this.#lingering && this.#exchange === undefined) {
      const raw = this.#reader.push(buffer, at, to);
      if (raw === undefined) break;
      const head = typeof raw === 'string' ? raw : readRequest(raw);
      if (typeof head === 'string') {
        this.#refuse(head);
        break;
      }
      this.#pending = { buffer, from: at + this.#reader.taken, to };
      const exchange = new Exchange(this, this.#contextFor(head), head);
      this.#exchange = exchange;
      exchange.start();
      at = this.#pending?.from ?? to;
    }
    this.#reading = false;
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined && this.#exchange !== undefined) this.#keepRest(buffer, pending.from, to);
  }

  #contextFor(head: RequestHead): RelayContext {
    const { route } = this.#options;
    if (route === undefined) return this.#context;
    const found = route(head);
    this.#unrouted = 'status' in found ? found : undefined;
    return 'status' in found ? this.#context : found;
  }

  #keepRest(buffer: Buffer, from: number, to: number): void {
    if (from < to) {
      const piece = buffer.subarray(from, to);
      this.#rest = this.#rest === undefined ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
      this.wire.stop();
    }
  }

  #refuse(reason: Rejection): void {
    this.#context.rejected(reason, this.caller);
    const status = REJECTIONS[reason];
    this.answer(
      { status, reason, code: 'SL-HTTP-001', sentence: 'the request breaks the rules of HTTP/1.1' },
      { close: true, withoutBody: false },
    );
    this.#finish();
  }

  /** No more from us. Input is read and thrown away for a while: a reset could destroy what we said on its way. */
  #finish(): void {
    if (this.#lingering) return;
    this.#lingering = true;
    this.#rest = undefined;
    this.#since = 0;
    this.wire.end();
    this.wire.go();
  }

  #tick(now: number, moved: boolean): void {
    const { limits } = this.#context;
    if (this.#exchange !== undefined) {
      this.#exchange.tick(now, moved);
      return;
    }
    if (this.#since === 0) this.#since = now;
    if (this.#lingering) {
      if (now - this.#since >= limits.lingerMs) this.wire.reset();
      return;
    }
    const { begun } = this.#reader;
    if (begun !== this.#wasBegun) this.#since = now;
    this.#wasBegun = begun;
    const waited = now - this.#since;
    if (begun && waited >= limits.headTimeoutMs) this.#refuse('slow_head');
    else if (!begun && waited >= limits.keepAliveMs) this.#finish();
  }
}

const NOTHING = Buffer.alloc(0);
