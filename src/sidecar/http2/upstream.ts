import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { OpenedLink } from '../http1/upstream.ts';
import type { Load } from '../load.ts';
import type { Http2Context } from './context.ts';
import { LinkDuplex } from './duplex.ts';
import { Guard } from './guard.ts';
import { clientOptions } from './limits.ts';
import type { CloseReason } from './reasons.ts';
import { RESET_NOT_END } from './trailers.ts';

/** A silent connection with streams is asked whether it is there, and has this long to say so, ms. */
const PING_AFTER = 30_000;
const PING_TIMEOUT = 20_000;

/** One HTTP/2 connection to where requests go; carries many at a time. */
export class UpstreamSession {
  readonly guard: Guard;
  readonly #opened: OpenedLink;
  readonly #context: Http2Context;
  readonly #session: ClientHttp2Session;
  readonly #duplex: LinkDuplex;
  readonly #freed: (upstream: UpstreamSession) => void;
  #streams = 0;
  #leaving = false;
  #gone = false;
  #active = true;
  /** ms since the epoch of the last byte. */
  #since: number;
  #pingSince = 0;
  /** Streams it was given. */
  uses = 0;

  /** `freed`: there is room for one more stream; `gone`: it is over. */
  constructor(
    opened: OpenedLink,
    context: Http2Context,
    freed: (upstream: UpstreamSession) => void,
    gone: (upstream: UpstreamSession) => void,
  ) {
    this.#opened = opened;
    this.#context = context;
    this.#freed = freed;
    this.#since = context.now();
    this.guard = new Guard('client', context.now, context.http2);
    this.#duplex = new LinkDuplex(opened.link, {
      arrived: (chunk) => this.#arrived(chunk),
      sent: () => {},
      closed: () => {
        this.#gone = true;
        gone(this);
      },
      lingerMs: context.limits.lingerMs,
      endMs: context.limits.bodyIdleMs,
    });
    // The authority is that of each request.
    this.#session = connect('http://upstream', {
      ...clientOptions(context.http2),
      createConnection: () => this.#duplex,
    });
    this.#session.on('error', () => this.#leave());
    this.#session.on('goaway', () => this.#leave());
    this.#session.on('close', () => this.#leave());
    // What no request asked for.
    this.#session.on('stream', (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    this.#session.once('connect', () => this.#session.setLocalWindowSize(context.http2.connectionWindow));
    this.#duplex.open();
  }

  get load(): Load {
    return this.#opened.load;
  }

  get streams(): number {
    return this.#streams;
  }

  /** Whether the connection broke, and not only a stream of it. */
  get gone(): boolean {
    return this.#gone || this.#session.destroyed;
  }

  /** Whether it may be given one more request. */
  get usable(): boolean {
    if (this.#leaving || this.load.retired || this.gone || this.#session.closed || this.#opened.usable?.() === false)
      return false;
    return this.#context.now() < (this.#opened.expiresAt ?? Number.POSITIVE_INFINITY);
  }

  get hasRoom(): boolean {
    const { maxStreams } = this.#context.http2;
    const theirs = this.#session.remoteSettings?.maxConcurrentStreams ?? maxStreams;
    return this.#streams < Math.min(theirs, maxStreams);
  }

  /** @throws when Node does not take the fields; nothing was sent then. */
  request(fields: readonly string[], bodyless: boolean): ClientHttp2Stream {
    const stream = this.#session.request(
      fields,
      bodyless ? { endStream: true } : { endStream: false, ...RESET_NOT_END },
    );
    this.#streams++;
    this.load.active++;
    this.guard.opened();
    this.uses++;
    this.#active = true;
    stream.on('error', () => {});
    stream.once('close', () => {
      this.#streams--;
      this.load.active--;
      this.guard.closed(stream.id);
      this.#active = true;
      if (this.#leaving && this.#streams === 0) this.retire();
      this.#freed(this);
    });
    return stream;
  }

  /** Looks at how long it was silent; called about once a second. */
  tick(now: number, idleMs: number): void {
    if (this.#gone) return;
    if (this.#active) this.#since = now;
    this.#active = false;
    const waited = now - this.#since;
    if (this.#streams === 0) {
      if (waited >= idleMs || !this.usable) this.retire();
    } else if (this.#pingSince > 0 && now - this.#pingSince >= PING_TIMEOUT) this.destroy();
    else if (this.#pingSince === 0 && waited >= PING_AFTER) this.#ping(now);
    if (this.#duplex.held) this.guard.forgive(now);
    if (this.guard.blockedFor(now) >= this.#context.limits.headTimeoutMs) this.#flooded('slow_head');
  }

  /** Ends when its streams have. */
  retire(): void {
    this.#leave();
    this.#opened.leaving?.();
    if (!this.#session.closed) this.#session.close();
  }

  destroy(): void {
    this.#leave();
    this.#opened.leaving?.();
    this.#session.destroy();
    this.#duplex.reset();
  }

  #leave(): void {
    this.#leaving = true;
  }

  #ping(now: number): void {
    this.#pingSince = now;
    if (!this.#session.destroyed) this.#session.ping(() => (this.#pingSince = 0));
  }

  #arrived(chunk: Buffer): boolean {
    if (this.#session.destroyed) return false;
    this.#active = true;
    const reason = this.guard.feed(chunk);
    if (reason === undefined) return true;
    this.#flooded(reason);
    return false;
  }

  #flooded(reason: CloseReason): void {
    this.#context.flooded(reason, undefined);
    this.#leave();
    this.#session.destroy(new Error('broken off'), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}
