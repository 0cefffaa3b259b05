import type { Link } from '../link.ts';
import type { Load } from '../load.ts';
import type { UpstreamFailure } from './failures.ts';
import type { ResponseFault } from './reasons.ts';
import { type ResponseHead, ResponseReader } from './response.ts';
import { Wire, type WireUser } from './wire.ts';

/** A fresh link to where requests go. */
export interface OpenedLink {
  readonly link: Link;
  /** Where it leads. */
  readonly load: Load;
  /** False when it should carry no further request, as after a new identity. */
  readonly usable?: () => boolean;
  /** From then on it should carry no further request either, ms since the epoch. */
  readonly expiresAt?: number;
  /** Told before we end it from our side. */
  readonly leaving?: () => void;
}

/** Opens a link, to `load` if it is given and can be reached, and calls back once. */
export type OpenLink = (load: Load | undefined, done: (result: OpenedLink | UpstreamFailure) => void) => void;

/** Who waits for a response. */
export interface ResponseUser {
  head(head: ResponseHead, buffer: Buffer, from: number, to: number): void;
  fault(fault: ResponseFault): void;
  /** The upstream left, in the middle of what it owed. */
  left(error: Error | undefined): void;
}

/** One connection to where requests go; carries one request at a time. */
export class Upstream implements WireUser {
  readonly wire: Wire;
  readonly #opened: OpenedLink;
  readonly #gone: (upstream: Upstream) => void;
  readonly #reader = new ResponseReader();
  #user: ResponseUser | undefined;
  /** The final head was read: what comes is its body, or too much. */
  #answered = false;
  /** More came than was asked for, or something else after which it carries no further request. */
  #tainted = false;
  #heard = false;
  /** Requests it was given. */
  uses = 0;
  /** ms since the epoch, while it waits. */
  idleSince = 0;
  /** How long it may wait, ms. */
  idleMs: number;

  constructor(opened: OpenedLink, idleMs: number, gone: (upstream: Upstream) => void) {
    this.#opened = opened;
    this.idleMs = idleMs;
    this.#gone = gone;
    this.wire = new Wire(opened.link, this);
    this.wire.open();
  }

  get load(): Load {
    return this.#opened.load;
  }

  get expiresAt(): number {
    return this.#opened.expiresAt ?? Number.POSITIVE_INFINITY;
  }

  /** Whether it may be given a request. */
  get usable(): boolean {
    return !this.#tainted && this.#user === undefined && this.wire.idle && (this.#opened.usable?.() ?? true);
  }

  get isTainted(): boolean {
    return this.#tainted;
  }

  /** Whether a byte of the response to this request came. */
  get heard(): boolean {
    return this.#heard;
  }

  begin(user: ResponseUser, method: string, webSocketKey: string | undefined): void {
    this.#user = user;
    this.#opened.load.active++;
    this.#answered = this.#heard = false;
    this.uses++;
    this.#reader.expect(method, webSocketKey);
  }

  /** The exchange is over. */
  finish(): void {
    if (this.#user === undefined) return;
    this.#user = undefined;
    this.#opened.load.active--;
  }

  taint(): void {
    this.#tainted = true;
  }

  /** Ends it in order, while it carries nothing. */
  retire(): void {
    this.#tainted = true;
    this.#opened.leaving?.();
    this.wire.end();
  }

  destroy(): void {
    this.finish();
    this.#tainted = true;
    this.#opened.leaving?.();
    this.wire.reset();
  }

  bytes(buffer: Buffer, from: number, to: number): void {
    this.#heard = true;
    let at = from;
    while (at < to) {
      if (this.#user === undefined || this.#answered) {
        this.#tainted = true;
        // Nobody asked for it: an answer to the next request it must not become.
        if (this.#user === undefined) this.destroy();
        return;
      }
      const head = this.#reader.push(buffer, at, to);
      if (head === undefined) return;
      if (typeof head === 'string') {
        this.#tainted = true;
        this.#user.fault(head);
        return;
      }
      at += this.#reader.taken;
      // Of an interim one too: a peer that says so may leave whatever the final one says.
      if (!head.persistent) this.#tainted = true;
      this.#answered = head.status >= 200 || head.status === 101;
      const user = this.#user;
      if (this.#answered) {
        this.#opened.load.answered(head.status);
        user.head(head, buffer, at, to);
        return;
      }
      user.head(head, buffer, at, at);
    }
  }

  ended(): void {
    if (this.#user === undefined) this.retire();
    else this.#leave(undefined);
  }

  closed(error: Error | undefined): void {
    this.#leave(error);
    this.#gone(this);
  }

  #leave(error: Error | undefined): void {
    this.#tainted = true;
    const user = this.#user;
    if (user === undefined) return;
    this.finish();
    user.left(error);
  }
}
