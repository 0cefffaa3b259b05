import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { nodeCode } from '../../base/errors.ts';
import type { Cell } from '../../base/metrics.ts';
import { heaviest } from '../heaviest.ts';
import { REJECTIONS, type Rejection } from '../http1/reasons.ts';
import type { Link } from '../link.ts';
import type { CloseReason } from '../metrics.ts';
import type { Relay } from '../relay.ts';
import type { Caller, Http2Context } from './context.ts';
import { LinkDuplex } from './duplex.ts';
import type { ExchangeOwner, Served } from './exchange.ts';
import { Guard } from './guard.ts';
import { isLarger, type RequestHead, readRequest } from './head.ts';
import { requestLimits, serverOptions } from './limits.ts';
import { answer } from './own-answer.ts';
import type { CloseReason as FloodReason } from './reasons.ts';

/** One request that keeps the rules, to be served. */
export interface NewStream {
  readonly owner: ExchangeOwner;
  readonly stream: ServerHttp2Stream;
  readonly head: RequestHead;
  readonly bodyless: boolean;
}

interface ClientOptions extends Caller {
  readonly link: Link;
  /** True from when the connection should be used no more, as after a new identity. */
  readonly outdated: () => boolean;
  readonly serve: (request: NewStream) => Served;
  /** Bytes from the peer and to it. */
  readonly received: Cell;
  readonly sent: Cell;
  readonly closed: (error: Error | undefined) => void;
}

/** One client connection that speaks HTTP/2. */
export class Http2Client implements ExchangeOwner, Relay {
  readonly guard: Guard;
  readonly callerFields: string;
  readonly caller: string | undefined;
  readonly denies: Caller['denies'];
  readonly #context: Http2Context;
  readonly #options: ClientOptions;
  readonly #duplex: LinkDuplex;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Map<ServerHttp2Stream, Served | undefined>();
  #active = true;
  #content = true;
  /** ms since the epoch: of the last stream, and of our go-away; 0 until then. */
  #idleSince: number;
  #leavingSince = 0;
  /** The peer said why it leaves. */
  #told = false;

  constructor(context: Http2Context, options: ClientOptions) {
    this.#context = context;
    this.#options = options;
    const { callerFields, caller, denies, link, received, sent } = options;
    this.callerFields = callerFields;
    this.caller = caller;
    this.denies = denies;
    this.#idleSince = context.now();
    this.guard = new Guard('server', context.now, context.http2);
    const inbound = context.direction === 'inbound';
    const [from, to] = inbound ? [received, sent] : [sent, received];
    this.#duplex = new LinkDuplex(link, {
      arrived: (chunk) => this.#arrived(chunk, from),
      sent: (bytes) => {
        to.value += bytes;
      },
      closed: (error) => {
        this.#session.destroy();
        options.closed(error);
      },
      lingerMs: context.limits.lingerMs,
      endMs: context.limits.bodyIdleMs,
    });
    this.#session = performServerHandshake(this.#duplex, serverOptions(context.direction, context.http2));
    this.#session.on('error', (error) => this.#broke(error));
    this.#session.on('goaway', () => {
      this.#told = true;
    });
    this.#session.on('stream', (stream, _headers, flags, raw) => this.#onStream(stream, flags, raw));
    this.#session.setLocalWindowSize(context.http2.connectionWindow);
    this.#duplex.open();
  }

  moved(): void {
    this.#content = true;
  }

  waiting(): number {
    let sum = this.#duplex.writableLength;
    for (const [stream, served] of this.#streams) sum += waitingOf(stream, served);
    return sum;
  }

  /** Streams are of many callers, and of those only some read too slowly. */
  shed(wanted: number): number {
    const heavy = heaviest(this.#streams, ([stream, served]) => (stream.closed ? 0 : waitingOf(stream, served)));
    let shed = 0;
    for (const { one, waiting } of heavy) {
      if (shed >= wanted) break;
      const [stream, served] = one;
      served?.blame('memory');
      stream.close(constants.NGHTTP2_CANCEL);
      shed += waiting;
    }
    return shed;
  }

  takeActivity(): boolean {
    const now = this.#context.now();
    const active = this.#content || (this.#active && this.#streams.size === 0);
    this.#active = this.#content = false;
    for (const served of this.#streams.values()) served?.tick(now);
    this.#tick(now);
    return active;
  }

  /** Goes away: no new streams, and an end with the last of those there are. */
  end(): void {
    if (this.#leavingSince > 0 || this.#session.destroyed) return;
    this.#leavingSince = this.#context.now();
    // Past nghttp2, which would read no more as soon as it had sent one itself, and every write is of whole frames.
    this.#duplex.write(GOAWAY_NOTICE);
    const close = () => {
      if (!this.#session.destroyed && !this.#session.closed) this.#session.close();
    };
    if (!this.#session.ping(close)) close();
  }

  retire(): void {
    this.end();
  }

  /** Breaks off, and says so as far as it can. */
  reset(reason?: CloseReason): void {
    if (reason !== undefined) for (const served of this.#streams.values()) served?.blame(reason);
    if (this.#session.destroyed) this.#duplex.reset();
    else this.#end(constants.NGHTTP2_CANCEL);
  }

  #tick(now: number): void {
    const { limits, graceMs } = this.#context;
    if (this.#session.destroyed) return;
    if (this.#duplex.held) this.guard.forgive(now);
    if (this.guard.blockedFor(now) >= limits.headTimeoutMs) {
      this.#flooded('slow_head');
      return;
    }
    if (this.#leavingSince > 0) {
      // The answer to our ping may never come.
      if (now - this.#leavingSince >= limits.lingerMs && !this.#session.closed) this.#session.close();
      if (now - this.#leavingSince >= graceMs) this.reset();
      return;
    }
    const idle = this.#streams.size === 0 && now - this.#idleSince >= limits.keepAliveMs;
    if (idle || this.#options.outdated()) this.end();
  }

  #arrived(chunk: Buffer, cell: Cell): boolean {
    if (this.#session.destroyed) return false;
    cell.value += chunk.length;
    this.#active = true;
    const reason = this.guard.feed(chunk);
    if (reason === undefined) return true;
    this.#flooded(reason);
    return false;
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    stream.on('error', () => {});
    this.guard.opened();
    this.#streams.set(stream, undefined);
    stream.once('close', () => {
      this.guard.closed(stream.id);
      this.#streams.delete(stream);
      this.#idleSince = this.#context.now();
    });
    if (stream.destroyed) return;
    // Node holds to it only after the peer has acknowledged our settings.
    const large = isLarger(raw, requestLimits(this.#context.direction, this.#context.http2).bytes);
    const head = large ? 'head_too_large' : readRequest(raw);
    if (typeof head === 'string') {
      this.#refuse(stream, head);
      return;
    }
    const bodyless = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    this.#streams.set(stream, this.#options.serve({ owner: this, stream, head, bodyless }));
  }

  #refuse(stream: ServerHttp2Stream, reason: Rejection): void {
    this.#context.rejected(reason, this.caller);
    const sentence = 'the request breaks the rules of HTTP';
    answer(stream, { status: REJECTIONS[reason], reason, code: 'SL-HTTP-001', sentence }, false);
  }

  #broke(error: Error): void {
    if (!this.#told && nodeCode(error)?.startsWith('ERR_HTTP2_') === true)
      this.#context.flooded('protocol_error', this.caller);
  }

  #flooded(reason: FloodReason): void {
    this.#context.flooded(reason, this.caller);
    this.#end(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #end(code: number): void {
    this.#session.destroy(new Error('broken off'), code);
  }
}

function waitingOf(stream: ServerHttp2Stream, served: Served | undefined): number {
  return stream.readableLength + stream.writableLength + (served?.waiting ?? 0);
}

/** No stream is refused yet: requests that are on their way are still served (RFC 9113 6.8). */
const GOAWAY_NOTICE = Buffer.from('0000080700000000007fffffff00000000', 'hex');
