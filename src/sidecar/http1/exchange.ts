import type { CloseReason } from '../metrics.ts';
import { followBody } from './body.ts';
import type { ExchangeOwner } from './exchange-owner.ts';
import {
  BAD_RESPONSE,
  CLOSED_UPSTREAM,
  CROWDED_UPSTREAM,
  LATE_RESPONSE,
  type OwnAnswer,
  type UpstreamFailure,
} from './failures.ts';
import { CHUNKED, hasBody, UNTIL_CLOSE } from './framing.ts';
import type { Taker } from './pool.ts';
import { BodyPump } from './pump.ts';
import { REJECTIONS, type Rejection, type ResponseFault } from './reasons.ts';
import type { RelayContext } from './relay-context.ts';
import type { RequestHead } from './request.ts';
import type { ResponseHead } from './response.ts';
import { rewriteRequest, rewriteResponse } from './rewrite.ts';
import type { ResponseUser, Upstream } from './upstream.ts';

/** Bodies slower than this, over the window, are not sent in earnest. */
const SLOW_BODY = { bytes: 1_024, windowMs: 30_000 };

const NOT_SLOW = { since: 0, bytes: 0 };

/** One request and what answers it. */
export class Exchange implements Taker, ResponseUser {
  readonly #owner: ExchangeOwner;
  readonly #context: RelayContext;
  readonly #head: RequestHead;
  readonly #text: string;
  readonly #requestId: string;
  readonly #started = performance.now();
  readonly #wantsClose: boolean;
  #upstream: Upstream | undefined;
  #request: BodyPump | undefined;
  #response: BodyPump | undefined;
  #requestDone = false;
  #responseBegun = false;
  #responseDone = false;
  #starting = false;
  #close = false;
  #reusable = false;
  #continued = false;
  #retried = false;
  #over = false;
  #status = 0;
  #reason: string | undefined;
  #expectTimer: NodeJS.Timeout | undefined;
  /** ms since the epoch; 0 until the first look. */
  #lastMove = 0;
  #slow = NOT_SLOW;

  constructor(owner: ExchangeOwner, context: RelayContext, head: RequestHead) {
    this.#owner = owner;
    this.#context = context;
    this.#head = head;
    const { direction, newRequestId, newTraceparent } = context;
    const { text, requestId } = rewriteRequest(head, {
      direction,
      callerFields: owner.callerFields,
      newRequestId,
      newTraceparent,
    });
    this.#text = text;
    this.#requestId = requestId;
    // What follows a WebSocket that did not come about may be meant for it: it must not be read as a request.
    this.#wantsClose = head.connection.close || head.minor === 0 || head.webSocketKey !== undefined;
  }

  start(): void {
    const crowded = this.#context.entered?.() === false;
    const denied = crowded ? CROWDED_UPSTREAM : this.#owner.denies(this.#head.method, this.#head.target);
    if (denied === undefined) this.#context.pool.take(this);
    else this.#deny(denied);
  }

  ready(upstream: Upstream): void {
    if (this.#over) {
      this.#context.pool.release(upstream);
      return;
    }
    const { method, framing, webSocketKey, expects } = this.#head;
    this.#upstream = upstream;
    upstream.begin(this, method, webSocketKey);
    const { buffer, from, to } = this.#owner.takePending();
    if (!hasBody(framing)) {
      this.#requestDone = true;
      upstream.wire.send(this.#text);
      this.#owner.keep(buffer, from, to);
      return;
    }
    this.#request = new BodyPump({
      source: this.#owner.wire,
      destination: upstream.wire,
      body: followBody(framing),
      done: () => {
        this.#requestDone = true;
        this.#settle();
      },
      fault: (fault) => this.reject(fault),
    });
    const end = this.#request.start(this.#text, buffer, from, to);
    if (this.#over) return;
    this.#owner.keep(buffer, end, to);
    if (expects) this.#expectTimer = setTimeout(() => this.#continue(), this.#context.limits.expectMs).unref();
  }

  failed(failure: UpstreamFailure): void {
    if (!this.#over) this.#fail(failure);
  }

  head(head: ResponseHead, buffer: Buffer, from: number, to: number): void {
    if (head.status === 101) {
      this.#upgrade(head, buffer, from, to);
      return;
    }
    if (head.status < 200) {
      this.#interim(head);
      return;
    }
    clearTimeout(this.#expectTimer);
    const { minor } = this.#head;
    const { direction } = this.#context;
    this.#responseBegun = true;
    this.#status = head.status;
    this.#reusable = head.persistent;
    if (head.keepAliveSeconds !== undefined && this.#upstream !== undefined) {
      // Below what the peer says, so that it does not close as we send.
      this.#upstream.idleMs = Math.min(this.#upstream.idleMs, Math.max(0, head.keepAliveSeconds * 1_000 - 1_000));
    }
    const chunk = head.framing === UNTIL_CLOSE && minor === 1;
    const bare = head.framing === CHUNKED && minor === 0;
    this.#close = this.#wantsClose || this.#owner.leaving || this.#refusesBody(head.status);
    const text = rewriteResponse(head, {
      direction,
      framing: chunk ? CHUNKED : bare ? UNTIL_CLOSE : head.framing,
      close: this.#close,
    });
    const { wire } = this.#owner;
    if (head.framing.kind === 'none') {
      wire.send(text);
      if (from < to) this.#upstream?.taint();
      this.#responseDone = true;
      this.#settle();
      return;
    }
    const { framing } = head;
    if (framing.kind === 'length' && to - from >= framing.length) {
      // All of it is here, as of most: one write, and nothing to follow.
      wire.send(text, buffer, from, from + framing.length);
      if (to - from > framing.length) this.#upstream?.taint();
      this.#responseDone = true;
      this.#settle();
      return;
    }
    const source = this.#upstream?.wire;
    if (source === undefined) return;
    this.#response = new BodyPump({
      source,
      destination: wire,
      body: followBody(head.framing, bare ? 'content' : 'framed'),
      chunk,
      done: () => {
        this.#responseDone = true;
        if (!this.#starting) this.#settle();
      },
      fault: (fault) => this.fault(fault),
    });
    this.#starting = true;
    const end = this.#response.start(text, buffer, from, to);
    this.#starting = false;
    if (this.#over) return;
    if (end < to) this.#upstream?.taint();
    if (this.#responseDone) this.#settle();
  }

  fault(fault: ResponseFault): void {
    if (this.#over) return;
    this.#context.rejected(`response_${fault}`, this.#owner.caller);
    this.#fail(BAD_RESPONSE);
  }

  left(): void {
    if (this.#over) return;
    if (this.#responseDone) {
      this.#end(true);
      return;
    }
    if (this.#responseBegun) {
      // What was read goes on; what is missing must not look like an end.
      if (this.#response?.allRead !== true) {
        this.#context.rejected('response_cut', this.#owner.caller);
        this.#breakOff();
      }
      return;
    }
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
    // One that was used before most likely ended for its age, as the request was on its way.
    if (upstream?.uses === 1) upstream.load.unanswered();
    if (upstream !== undefined && this.#mayRetry(upstream)) {
      this.#retried = true;
      this.#context.pool.take(this, upstream.load);
    } else this.#fail(CLOSED_UPSTREAM);
  }

  /** The rest of the request cannot be understood, or does not come. */
  reject(reason: Rejection): void {
    if (this.#over) return;
    this.#context.rejected(reason, this.#owner.caller);
    this.#fail({
      status: REJECTIONS[reason],
      reason,
      code: 'SL-HTTP-001',
      sentence: 'the body of the request broke the rules of HTTP/1.1, or did not come',
    });
  }

  /** It is about to be broken off by us. */
  blame(reason: CloseReason): void {
    this.#reason ??= reason;
  }

  /** The client is gone. */
  abort(): void {
    if (this.#over) return;
    this.#reason ??= 'client_left';
    this.#finish();
    this.#upstream?.destroy();
  }

  /** Bytes of bodies that one side has not taken. */
  get waiting(): number {
    return (this.#request?.waiting ?? 0) + (this.#response?.waiting ?? 0);
  }

  /** Looks at how long nothing has moved; called about once a second with whether bytes did. */
  tick(now: number, clientMoved: boolean): void {
    if (this.#over) return;
    const { limits } = this.#context;
    const wire = this.#upstream?.wire;
    if (clientMoved || wire?.active === true || this.#lastMove === 0) this.#lastMove = now;
    if (this.#slow === NOT_SLOW) this.#slow = { since: now, bytes: 0 };
    if (wire === undefined) return;
    wire.active = false;
    const still = now - this.#lastMove;
    if (this.#response?.stalled === true && still >= limits.bodyIdleMs) {
      this.#breakOff();
      return;
    }
    if (!this.#requestDone && this.#request?.stalled === false && this.#isSlow(now, still)) {
      this.reject('slow_body');
      return;
    }
    if (this.#responseBegun || still < limits.requestTimeoutMs) return;
    this.#upstream?.load.unanswered();
    this.#fail(LATE_RESPONSE);
  }

  /** The connection goes on when the whole request is here, as most are. */
  #deny(answer: OwnAnswer): void {
    const { buffer, from, to } = this.#owner.takePending();
    const body = followBody(this.#head.framing);
    if (hasBody(this.#head.framing)) body.feed(buffer, from, to);
    this.#requestDone = body.fault === undefined && (body.done || !hasBody(this.#head.framing));
    if (this.#requestDone) this.#owner.keep(buffer, Math.max(from, body.used), to);
    this.#fail(answer);
  }

  #isSlow(now: number, still: number): boolean {
    if (still >= this.#context.limits.bodyIdleMs) return true;
    if (now - this.#slow.since < SLOW_BODY.windowMs) return false;
    const bytes = this.#request?.passed ?? 0;
    const slow = bytes - this.#slow.bytes < SLOW_BODY.bytes;
    this.#slow = { since: now, bytes };
    return slow;
  }

  /** Whether a response before the end of the request says that the rest of it is not wanted. */
  #refusesBody(status: number): boolean {
    return !this.#requestDone && (status >= 400 || (this.#head.expects && !this.#continued));
  }

  #mayRetry(upstream: Upstream): boolean {
    return (
      !upstream.heard &&
      !this.#retried &&
      !hasBody(this.#head.framing) &&
      REPEATABLE.has(this.#head.method) &&
      (upstream.uses > 1 || this.#context.pool.elsewhere(upstream.load))
    );
  }

  #interim(head: ResponseHead): void {
    if (head.status === 100) {
      if (!this.#head.expects || this.#continued) return;
      this.#continued = true;
      clearTimeout(this.#expectTimer);
    }
    if (this.#head.minor === 0) return;
    const { framing } = head;
    this.#owner.wire.send(rewriteResponse(head, { direction: this.#context.direction, framing, close: false }));
  }

  /** RFC 9110 10.1.1: an app that never says 100 must not keep the body waiting. */
  #continue(): void {
    if (this.#over || this.#continued || this.#responseBegun) return;
    this.#continued = true;
    this.#owner.wire.send('HTTP/1.1 100 Continue\r\n\r\n');
  }

  #upgrade(head: ResponseHead, buffer: Buffer, from: number, to: number): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#status = 101;
    const { direction } = this.#context;
    this.#owner.wire.send(rewriteResponse(head, { direction, framing: head.framing, close: false }));
    upstream.finish();
    this.#upstream = undefined;
    this.#finish();
    this.#owner.tunnel(upstream, from < to ? Buffer.from(buffer.subarray(from, to)) : undefined);
  }

  #settle(): void {
    if (this.#over || !this.#responseDone) return;
    if (this.#requestDone) {
      const upstream = this.#upstream;
      this.#upstream = undefined;
      if (upstream !== undefined) {
        upstream.finish();
        if (this.#reusable) this.#context.pool.release(upstream);
        else upstream.destroy();
      }
      this.#end(this.#close);
    } else if (this.#close) this.#end(true);
  }

  /** Answers in place of the upstream, or breaks off what was begun. */
  #fail(answer: OwnAnswer): void {
    if (this.#responseBegun) {
      this.#breakOff();
      return;
    }
    const close = this.#wantsClose || !this.#requestDone || this.#owner.leaving;
    this.#status = answer.status;
    this.#reason = answer.reason;
    this.#owner.answer(answer, { close, withoutBody: this.#head.method === 'HEAD' });
    this.#end(close);
  }

  /** Neither side may take what it got for the whole. */
  #breakOff(): void {
    this.#reason ??= 'cut';
    this.#finish();
    this.#upstream?.destroy();
    this.#owner.wire.reset();
  }

  #end(close: boolean): void {
    this.#finish();
    this.#upstream?.destroy();
    this.#owner.exchangeEnded(close);
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#expectTimer);
    this.#request?.abandon();
    this.#response?.abandon();
    this.#context.done({
      method: this.#head.method,
      target: this.#head.target,
      status: this.#status,
      requestId: this.#requestId,
      durationMs: performance.now() - this.#started,
      reason: this.#reason,
      caller: this.#owner.caller,
    });
  }
}

/** RFC 9110 9.2.2. */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);
