import { BUSY, HELD, type Link, type LinkUser, TAKEN, type WriteResult } from '../link.ts';
import { ByteQueue } from './byte-queue.ts';
import { ACK, FIN, INITIAL_WINDOW, RST, SYN, WINDOW_UPDATE } from './frame.ts';
import type { SessionMemory } from './memory.ts';

/** Up to here a write that cannot leave at once is copied, because its memory may be shared with other readers. */
const COPIED = 16 * 1024;
/** No stream sends more than this while others wait for their turn. */
const TURN = 32 * 1024;
const MAX_WINDOW = 1024 * 1024;
/** Grants in a row without a pause of the reader after which the window is doubled. */
const STEADY = 4;
const MAX_SEND_WINDOW = 0xffff_ffff;

/** What a stream needs of its session. */
export interface StreamHost {
  /** How long the payload of a data frame may be now. */
  room(): number;
  /** True while other streams wait for room. */
  readonly crowded: boolean;
  data(flags: number, id: number, from: Buffer, start: number, end: number): void;
  text(flags: number, id: number, text: string): void;
  control(type: number, flags: number, id: number, value: number): void;
  /** Calls `send()` of the stream when there is room, after those that waited before. */
  waitForRoom(stream: MuxStream): void;
  /** Calls `announce()` of the stream soon, should no data carry its SYN or ACK; perhaps also when it is gone. */
  announceLater(stream: MuxStream): void;
  /** Gives a stream of ours its id, with its first frame. */
  nextId(stream: MuxStream): number;
  /** The stream is over, as far as the peer is concerned. */
  remove(stream: MuxStream): void;
  /** What all its streams hold together. */
  readonly memory: SessionMemory;
}

/** A stream of a shared connection, as a link. */
export class MuxStream implements Link {
  /** 0 until our SYN is on its way. */
  id: number;
  readonly #host: StreamHost;
  #user: LinkUser | undefined;
  /** SYN or ACK, until a frame has carried it. */
  #opening: number;

  #sendWindow = INITIAL_WINDOW;
  #unsent: Buffer | undefined;
  #waiting = false;
  #ending = false;
  #finSent = false;

  #receiveWindow = INITIAL_WINDOW;
  #window = INITIAL_WINDOW;
  #uncredited = 0;
  #steady = 0;
  readonly #queue = new ByteQueue();
  #delivering = false;
  #paused = false;
  #finReceived = false;
  #endTold = false;

  #gone = false;
  #error: Error | undefined;

  /** `id` is that of the peer's SYN, or 0 for a stream of ours. */
  constructor(host: StreamHost, id: number) {
    this.#host = host;
    this.id = id;
    this.#opening = id === 0 ? SYN : ACK;
    if (id === 0) host.announceLater(this);
  }

  /** True until a frame of ours has answered the peer's SYN. */
  get unanswered(): boolean {
    return this.#opening === ACK;
  }

  open(user: LinkUser): void {
    this.#user = user;
    if (this.#gone) {
      queueMicrotask(() => user.closed(this.#error));
      return;
    }
    if (this.#opening === ACK) this.#host.announceLater(this);
    this.#deliver();
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  write(chunk: Buffer): WriteResult {
    if (this.#gone || this.#ending) return TAKEN;
    const sent = this.#host.crowded ? 0 : this.#sendFrom(chunk, Number.POSITIVE_INFINITY);
    if (sent === chunk.length) return TAKEN;
    const copied = chunk.length <= COPIED;
    const rest = chunk.subarray(sent);
    this.#unsent = copied ? Buffer.from(rest) : rest;
    this.#wait();
    return copied ? BUSY : HELD;
  }

  writeText(text: string): WriteResult {
    if (this.#gone || this.#ending || text === '') return TAKEN;
    const { length } = text;
    if (this.#host.crowded || length > this.#sendWindow || length > this.#host.room()) {
      return this.write(Buffer.from(text, 'latin1')) === TAKEN ? TAKEN : BUSY;
    }
    this.#sendWindow -= length;
    this.#host.text(this.#openingFlag(), this.id, text);
    return TAKEN;
  }

  end(): void {
    if (this.#gone || this.#ending) return;
    this.#ending = true;
    if (this.#unsent === undefined) this.#sendFin();
  }

  reset(): void {
    if (this.#gone) return;
    if (this.id !== 0) this.#host.control(WINDOW_UPDATE, RST, this.id, 0);
    this.lose(undefined);
  }

  get held(): number {
    return this.#queue.length;
  }

  renewSpace(): void {
    // Memory of the user is only asked for when there are bytes for it.
  }

  /** A frame announces `length` bytes of payload. False when they do not fit the window. */
  expect(length: number): boolean {
    if (length > this.#receiveWindow) return false;
    this.#receiveWindow -= length;
    return true;
  }

  /** How much its window has grown. */
  get grown(): number {
    return this.#window - INITIAL_WINDOW;
  }

  get finReceived(): boolean {
    return this.#finReceived;
  }

  /** Payload arrived; `chunk` is only borrowed. */
  receive(chunk: Buffer, start: number, end: number): void {
    let at = start;
    const user = this.#user;
    if (user !== undefined && this.#queue.length === 0 && !this.#delivering) {
      this.#delivering = true;
      while (at < end && !this.#paused && !this.#gone) {
        const n = chunk.copy(user.space(), 0, at, end);
        at += n;
        this.#handOver(n, user);
      }
      this.#delivering = false;
    }
    if (at === end || this.#gone) return;
    this.#queue.push(chunk, at, end);
    if (!this.#host.memory.hold(end - at)) this.reset();
  }

  /** The peer sends no more. */
  receiveFin(): void {
    this.#finReceived = true;
    this.#leaveWhenDone();
    this.#deliver();
  }

  receiveReset(): void {
    this.lose(Object.assign(new Error('the peer reset the stream'), { code: 'ECONNRESET' }));
  }

  /** The peer gives room. False when the window would not fit its 32 bits. */
  receiveCredit(bytes: number): boolean {
    this.#sendWindow += bytes;
    if (this.#unsent !== undefined) this.#wait();
    return this.#sendWindow <= MAX_SEND_WINDOW;
  }

  /** Ends both ways without a frame: after a reset of either side, or with its connection. */
  lose(error: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#error = error;
    this.#host.memory.hold(-this.#queue.length);
    this.#queue.clear();
    this.#unsent = undefined;
    if (!(this.#finSent && this.#finReceived)) this.#host.remove(this);
    const user = this.#user;
    if (user !== undefined) queueMicrotask(() => user.closed(error));
  }

  /** There is room again. */
  send(): void {
    this.#waiting = false;
    const rest = this.#unsent;
    if (rest === undefined) return;
    const sent = this.#sendFrom(rest, TURN);
    if (sent < rest.length) {
      this.#unsent = rest.subarray(sent);
      this.#wait();
      return;
    }
    this.#unsent = undefined;
    if (this.#ending) this.#sendFin();
    this.#user?.written();
  }

  /** Sends SYN or ACK, if no other frame has carried it. */
  announce(): void {
    if (this.#opening !== 0 && !this.#gone) this.#control(0, 0);
  }

  #wait(): void {
    if (this.#waiting || this.#sendWindow === 0) return;
    this.#waiting = true;
    this.#host.waitForRoom(this);
  }

  #sendFrom(chunk: Buffer, most: number): number {
    let at = 0;
    const end = Math.min(chunk.length, most);
    while (at < end) {
      const n = Math.min(end - at, this.#sendWindow, this.#host.room());
      if (n === 0) break;
      this.#sendWindow -= n;
      this.#host.data(this.#openingFlag(), this.id, chunk, at, at + n);
      at += n;
    }
    return at;
  }

  #sendFin(): void {
    this.#finSent = true;
    this.#control(FIN, 0);
    this.#leaveWhenDone();
  }

  #control(flags: number, value: number): void {
    const opening = this.#openingFlag();
    this.#host.control(WINDOW_UPDATE, opening | flags, this.id, value);
  }

  #openingFlag(): number {
    const flag = this.#opening;
    this.#opening = 0;
    if (flag === SYN) this.id = this.#host.nextId(this);
    return flag;
  }

  #leaveWhenDone(): void {
    if (this.#finSent && this.#finReceived && !this.#gone) {
      this.#host.remove(this);
      this.#closeWhenRead();
    }
  }

  #deliver(): void {
    const user = this.#user;
    if (user === undefined || this.#delivering) return;
    this.#delivering = true;
    while (this.#queue.length > 0 && !this.#paused && !this.#gone) {
      const n = this.#queue.shift(user.space());
      this.#host.memory.hold(-n);
      this.#handOver(n, user);
    }
    this.#delivering = false;
    if (!this.#finReceived || this.#queue.length > 0 || this.#endTold || this.#gone) return;
    this.#endTold = true;
    user.ended();
    this.#closeWhenRead();
  }

  #closeWhenRead(): void {
    if (!this.#endTold || !this.#finSent || this.#gone) return;
    this.#gone = true;
    const user = this.#user;
    queueMicrotask(() => user?.closed(undefined));
  }

  #handOver(n: number, user: LinkUser): void {
    this.#uncredited += n;
    if (!user.filled(n)) {
      this.#paused = true;
      this.#steady = 0;
    }
    // The peer may send as much again only once the reader has taken this: a stalled one stalls itself alone.
    if (this.#uncredited * 2 >= this.#window && !this.#finReceived && !this.#gone) this.#grant();
  }

  #grant(): void {
    let credit = this.#uncredited;
    this.#uncredited = 0;
    this.#steady++;
    if (this.#steady >= STEADY && this.#window < MAX_WINDOW && this.#host.memory.grow(this.#window)) {
      credit += this.#window;
      this.#window *= 2;
      this.#steady = 0;
    }
    this.#receiveWindow += credit;
    this.#control(0, credit);
  }
}
