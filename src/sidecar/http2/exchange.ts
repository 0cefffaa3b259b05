import { type ClientHttp2Stream, constants, type ServerHttp2Stream } from 'node:http2';
import {
  BAD_RESPONSE,
  CLOSED_UPSTREAM,
  CROWDED_UPSTREAM,
  LATE_RESPONSE,
  type OwnAnswer,
  type UpstreamFailure,
} from '../http1/failures.ts';
import { REJECTIONS, type Rejection } from '../http1/reasons.ts';
import type { CloseReason } from '../metrics.ts';
import { Body } from './body.ts';
import type { Caller, Http2Context } from './context.ts';
import type { Guard } from './guard.ts';
import {
  fieldOf,
  forwardedRequest,
  forwardedResponse,
  forwardedTrailers,
  isLarger,
  type RawFields,
  type RequestHead,
} from './head.ts';
import { responseLimits } from './limits.ts';
import { answer, stopRequest } from './own-answer.ts';
import type { SessionPool, Taker } from './pool.ts';
import { RESET_NOT_END, sendTrailers, toObject } from './trailers.ts';
import type { UpstreamSession } from './upstream.ts';

/** The client connection, as one stream of it sees it. */
export interface ExchangeOwner extends Caller {
  readonly guard: Guard;
  /** Content moved. */
  moved(): void;
}

/** One stream of a client, whoever serves it. */
export interface Served {
  /** Looks at how long nothing has moved; called about once a second. */
  tick(now: number): void;
  /** It is about to be broken off by us. */
  blame(reason: CloseReason): void;
  /** Bytes held for it, but for those in the client's stream. */
  readonly waiting: number;
}

interface ExchangeOptions {
  readonly owner: ExchangeOwner;
  readonly context: Http2Context;
  readonly pool: SessionPool;
  readonly stream: ServerHttp2Stream;
  readonly head: RequestHead;
  /** The request has no body. */
  readonly bodyless: boolean;
}

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } =
  constants;
const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM;
const MAX_INTERIM = 16;

/** One request and what answers it, over HTTP/2 on both sides. */
export class Exchange implements Taker, Served {
  readonly #options: ExchangeOptions;
  readonly #fields: readonly string[];
  readonly #requestId: string;
  readonly #started = performance.now();
  #upstream: UpstreamSession | undefined;
  #request: ClientHttp2Stream | undefined;
  #requestBody: Body | undefined;
  #responseBody: Body | undefined;
  #requestDone: boolean;
  #requestTrailers: RawFields = [];
  #responseTrailers: RawFields = [];
  #told = false;
  #responseDone = false;
  #interim = 0;
  #retried = false;
  #over = false;
  #status = 0;
  #reason: string | undefined;
  /** ms since the epoch; 0 until the first look. */
  #lastMove = 0;
  #active = true;
  #unsent = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const { owner, context, stream, head, bodyless } = options;
    this.#requestDone = bodyless;
    const { fields, requestId } = forwardedRequest(head, { ...context, callerFields: owner.callerFields });
    this.#fields = fields;
    this.#requestId = requestId;
    stream.once('close', () => this.#closed());
    stream.on('trailers', (_headers, _flags, raw) => {
      this.#requestTrailers = raw;
    });
  }

  /** `crowded`: it is one too many, and gets that for an answer. */
  start(crowded = false): void {
    const { owner, head, pool } = this.#options;
    const denied = crowded ? CROWDED_UPSTREAM : owner.denies?.(head.method, head.path);
    if (denied === undefined) pool.take(this);
    else this.#fail(denied);
  }

  ready(upstream: UpstreamSession): void {
    if (this.#over) return;
    const { stream, bodyless } = this.#options;
    let request: ClientHttp2Stream;
    try {
      request = upstream.request(this.#fields, bodyless);
    } catch {
      // Node is stricter with a field than we are.
      this.#reject('bad_field_value');
      return;
    }
    this.#upstream = upstream;
    this.#request = request;
    request.on('headers', (_headers, _flags, raw) => this.#onInterim(raw));
    request.once('response', (_headers, flags, raw) => this.#onResponse(request, flags, raw));
    request.on('trailers', (_headers, _flags, raw) => {
      this.#responseTrailers = raw;
    });
    request.once('close', () => this.#onUpstreamClose(request));
    if (bodyless) return;
    request.once('wantTrailers', () => sendTrailers(request, forwardedTrailers(this.#requestTrailers)));
    this.#requestBody = new Body({
      source: stream,
      destination: request,
      passed: (bytes) => {
        this.#active = true;
        upstream.guard.sent(bytes);
        this.#options.owner.moved();
      },
      ended: () => this.#requestEnded(request),
    });
  }

  failed(failure: UpstreamFailure): void {
    if (!this.#over) this.#fail(failure);
  }

  blame(reason: CloseReason): void {
    this.#reason ??= reason;
  }

  get waiting(): number {
    return (this.#request?.readableLength ?? 0) + (this.#request?.writableLength ?? 0);
  }

  tick(now: number): void {
    const { context, head, stream } = this.#options;
    const { limits, streamIdleMs } = context;
    // Less to send than before: the client took some.
    if (stream.writableLength !== this.#unsent || this.#active || this.#lastMove === 0) this.#lastMove = now;
    this.#active = false;
    this.#unsent = stream.writableLength;
    const still = now - this.#lastMove;
    if (this.#unsent > 0 && still >= limits.bodyIdleMs) {
      this.#breakOff(NGHTTP2_CANCEL, 'stalled');
      return;
    }
    if (head.grpc) {
      if (still >= streamIdleMs) this.#fail(LATE_RESPONSE);
      return;
    }
    if (this.#requestBody !== undefined && !this.#requestDone && !this.#requestBody.stalled) {
      if (still >= limits.bodyIdleMs || this.#requestBody.isSlow(now)) {
        this.#reject('slow_body');
        return;
      }
    }
    if (this.#told || this.#request === undefined || still < limits.requestTimeoutMs) return;
    this.#upstream?.load.unanswered();
    this.#fail(LATE_RESPONSE);
  }

  /** Whether that was the end of the body, and not a reset that looks like one (threats.md Z17). */
  #requestEnded(request: ClientHttp2Stream): void {
    const { owner, stream } = this.#options;
    if (stream.id === undefined || !owner.guard.endedByPeer(stream.id)) {
      request.close(NGHTTP2_CANCEL);
      return;
    }
    this.#requestDone = true;
    request.end();
  }

  #onInterim(raw: RawFields): void {
    const { stream, context } = this.#options;
    if (this.#told || stream.destroyed) return;
    if (++this.#interim > MAX_INTERIM) {
      this.#request?.close(NGHTTP2_CANCEL);
      return;
    }
    try {
      stream.additionalHeaders(toObject(forwardedResponse(raw, context.direction)));
    } catch {
      // An interim answer is not owed.
    }
  }

  #onResponse(request: ClientHttp2Stream, flags: number, raw: RawFields): void {
    const { owner, stream, context, head } = this.#options;
    if (this.#over || this.#told || request !== this.#request || stream.destroyed) return;
    if (isLarger(raw, responseLimits(context.http2).bytes)) {
      context.rejected('response_head_too_large', owner.caller);
      this.#fail(BAD_RESPONSE);
      return;
    }
    const whole = (flags & END_STREAM) !== 0;
    const fields = forwardedResponse(raw, context.direction);
    this.#status = Number(fieldOf(raw, ':status'));
    this.#upstream?.load.answered(this.#status);
    if (whole) {
      this.#responseDone = true;
      if (head.grpc && this.#status === 200 && fieldOf(raw, 'grpc-status') === undefined) fields.push(...NO_STATUS);
    }
    try {
      stream.respond(fields, whole ? { endStream: true } : RESET_NOT_END);
    } catch {
      context.rejected('response_bad_field_value', owner.caller);
      this.#responseDone = false;
      this.#fail(BAD_RESPONSE);
      return;
    }
    this.#told = true;
    this.#active = true;
    if (whole) {
      this.#finishResponse();
      return;
    }
    stream.once('wantTrailers', () => {
      sendTrailers(stream, forwardedTrailers(this.#endOfResponse()));
      // A stream that is closed before takes no trailers.
      setImmediate(() => this.#finishResponse());
    });
    this.#responseBody = new Body({
      source: request,
      destination: stream,
      passed: (bytes) => {
        this.#active = true;
        owner.guard.sent(bytes);
        owner.moved();
      },
      ended: () => {
        if (request.id === undefined || this.#upstream?.guard.endedByPeer(request.id) !== true) {
          this.#breakOff(NGHTTP2_INTERNAL_ERROR, 'cut');
          return;
        }
        this.#responseDone = true;
        stream.end();
      },
    });
  }

  /** A gRPC response without a status is none: it must not be taken for a success (threats.md Z19). */
  #endOfResponse(): RawFields {
    const { head } = this.#options;
    const missing = head.grpc && fieldOf(this.#responseTrailers, 'grpc-status') === undefined;
    return missing ? [...this.#responseTrailers, ...NO_STATUS] : this.#responseTrailers;
  }

  /** All of the response is there, if not of the request: the rest of that is not wanted. */
  #finishResponse(): void {
    if (this.#requestDone) return;
    this.#requestBody?.abandon();
    stopRequest(this.#options.stream);
    this.#request?.close(NGHTTP2_NO_ERROR);
  }

  #onUpstreamClose(request: ClientHttp2Stream): void {
    if (this.#over || request !== this.#request || this.#responseDone) return;
    const code = request.rstCode ?? NGHTTP2_NO_ERROR;
    this.#requestBody?.abandon();
    if (this.#told) {
      this.#breakOff(passedOn(code), 'cut');
      return;
    }
    this.#request = undefined;
    const { head, bodyless, pool } = this.#options;
    const refused = code === NGHTTP2_REFUSED_STREAM || request.id === undefined;
    const upstream = this.#upstream;
    const gone = upstream?.gone === true;
    // One that was used before most likely ended for its age, as the request was on its way.
    if (gone && upstream.uses === 1) upstream.load.unanswered();
    const repeatable = gone && REPEATABLE.has(head.method) && (upstream.uses > 1 || pool.elsewhere(upstream.load));
    if (bodyless && !this.#retried && (refused || repeatable)) {
      this.#retried = true;
      pool.take(this, gone ? upstream.load : undefined);
    } else if (gone) this.#fail(CLOSED_UPSTREAM);
    else this.#breakOff(refused ? NGHTTP2_REFUSED_STREAM : passedOn(code), 'reset');
  }

  /** The client is gone, or has it all. */
  #closed(): void {
    if (this.#over) return;
    const { stream } = this.#options;
    if (!this.#told || !this.#responseDone || (stream.rstCode ?? 0) !== NGHTTP2_NO_ERROR)
      this.#reason ??= 'client_left';
    this.#finish();
  }

  #reject(reason: Rejection): void {
    const { context, owner } = this.#options;
    context.rejected(reason, owner.caller);
    this.#fail({
      status: REJECTIONS[reason],
      reason,
      code: 'SL-HTTP-001',
      sentence: 'the request broke the rules of HTTP, or did not come',
    });
  }

  #fail(own: OwnAnswer): void {
    const { stream, head } = this.#options;
    if (this.#told) {
      this.#breakOff(NGHTTP2_CANCEL, own.reason);
      return;
    }
    this.#status = own.status;
    this.#reason = own.reason;
    this.#finish();
    answer(stream, own, head.grpc);
  }

  /** Neither side may take what it got for the whole. */
  #breakOff(code: number, reason: string): void {
    if (this.#over) return;
    this.#reason ??= reason;
    this.#finish();
    this.#options.stream.close(code);
  }

  #finish(): void {
    this.#over = true;
    this.#requestBody?.abandon();
    this.#responseBody?.abandon();
    const request = this.#request;
    if (request !== undefined && !request.closed && !(this.#requestDone && this.#responseDone)) {
      request.close(NGHTTP2_CANCEL);
    }
    const { context, head, owner } = this.#options;
    context.done({
      method: head.method,
      target: head.path,
      status: this.#status,
      requestId: this.#requestId,
      durationMs: performance.now() - this.#started,
      reason: this.#reason,
      caller: owner.caller,
    });
  }
}

const NO_STATUS = ['grpc-status', '14', 'grpc-message', 'the response ended without a status'];

/** RFC 9110 9.2.2. */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

/** What one side says by a reset, as far as it concerns the other. */
function passedOn(code: number): number {
  const known = code === NGHTTP2_REFUSED_STREAM || code === NGHTTP2_CANCEL || code === NGHTTP2_ENHANCE_YOUR_CALM;
  return known ? code : NGHTTP2_INTERNAL_ERROR;
}
