import { Allowance } from './allowance.ts';
import { Farewell } from './farewell.ts';
import {
  ACK,
  ALL_FLAGS,
  DATA,
  FIN,
  GO_AWAY,
  GO_AWAY_NORMAL,
  GO_AWAY_PROTOCOL_ERROR,
  HEADER_SIZE,
  type Header,
  INITIAL_WINDOW,
  PING,
  RST,
  readHeader,
  SYN,
  VERSION,
  WINDOW_UPDATE,
} from './frame.ts';
import { Keepalive } from './keepalive.ts';
import { type MemoryLimits, SessionMemory } from './memory.ts';
import { Outbox } from './outbox.ts';
import { type LinkCloseReason, ORDERLY } from './reasons.ts';
import { MuxStream, type StreamHost } from './stream.ts';
import { StreamIds } from './stream-ids.ts';
import { StreamsById } from './streams-by-id.ts';
import { Unannounced } from './unannounced.ts';

const LAST_ID = 0x7fff_ffff;
const PING_VALUES = 0x1_0000_0000;

export interface SessionOptions extends MemoryLimits {
  /** The side that connected has odd stream ids. */
  readonly client: boolean;
  /** ms; later times come with `tick`. */
  readonly now: number;
  /** Streams of the peer open at a time; one more is refused. */
  readonly maxStreams: number;
  /** Closed after this long without a stream, ms. */
  readonly idleMs: number;
  readonly user: SessionUser;
}

/** What a session tells its user. */
export interface SessionUser {
  /** The peer opened a stream. */
  accepted(stream: MuxStream): void;
  /** There is something to send, at the end of the loop turn. */
  output(): void;
  /** The outbox is full: send now, if nothing is on its way. */
  full(): void;
  /** The session is over; send what the outbox holds, then close. Called once. */
  closed(reason: LinkCloseReason): void;
}

/** One side of a yamux session: bytes and time in, streams and bytes out. It knows no socket and no clock. */
export class Session implements StreamHost {
  readonly outbox = new Outbox();
  /** Frames so far. */
  readonly frames = { received: 0, sent: 0 };
  readonly memory: SessionMemory;
  readonly farewell = new Farewell();
  readonly #options: SessionOptions;
  readonly #user: SessionUser;
  readonly #streams = new StreamsById();
  /** Each once, in the order of their turns; those that are gone meanwhile send nothing. */
  readonly #waiting: MuxStream[] = [];
  readonly #unannounced = new Unannounced();
  readonly #theirIds: StreamIds;
  #nextId: number;
  #ours = 0;
  #theirs = 0;
  #closed: LinkCloseReason | undefined;

  readonly #partial = Buffer.alloc(HEADER_SIZE);
  #partialLength = 0;
  readonly #header: Header = { version: 0, type: 0, flags: 0, id: 0, length: 0 };
  /** Payload of the current data frame that is still to come, and whose it is; undefined for one that is gone. */
  #payload = 0;
  #payloadStream: MuxStream | undefined;

  #now: number;
  readonly #keepalive: Keepalive;
  #pingValue = 0;
  #idleSince: number;

  readonly #syns = new Allowance(50_000, 50_000);
  readonly #refusals = new Allowance(2_000, 500);
  readonly #resets = new Allowance(2_000, 500);
  readonly #pings = new Allowance(50, 10);
  readonly #empty = new Allowance(1_000, 100);
  readonly #allowances = [this.#syns, this.#refusals, this.#resets, this.#pings, this.#empty];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#user = options.user;
    this.memory = new SessionMemory(options);
    this.#nextId = options.client ? 1 : 2;
    this.#theirIds = new StreamIds(!options.client);
    this.#now = this.#idleSince = options.now;
    this.#keepalive = new Keepalive(options.now);
  }

  /** Streams open now, of both sides. */
  get streams(): number {
    return this.#ours + this.#theirs;
  }

  /** Bytes that the peer may send on all open streams together before their readers take any. */
  get window(): number {
    return this.streams * INITIAL_WINDOW + this.memory.growth;
  }

  /** False when new streams should go elsewhere: it is draining, or over. */
  get open(): boolean {
    return this.#closed === undefined && !this.farewell.leaving && this.#nextId <= LAST_ID;
  }

  /** Opens a stream; its SYN leaves with its first data, or at the end of the loop turn. Only while `open`. */
  stream(): MuxStream {
    this.#ours++;
    return new MuxStream(this, 0);
  }

  /** Takes bytes of the peer; `chunk` is only borrowed. */
  receive(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#closed === undefined) {
      if (this.#payload > 0) {
        const end = Math.min(chunk.length, at + this.#payload);
        this.#payload -= end - at;
        this.#keepalive.sign();
        this.#payloadStream?.receive(chunk, at, end);
        at = end;
        if (this.#payload === 0) this.#endOfPayload();
        continue;
      }
      if (this.#partialLength === 0 && chunk.length - at >= HEADER_SIZE) {
        readHeader(chunk, at, this.#header);
        at += HEADER_SIZE;
      } else {
        const n = chunk.copy(this.#partial, this.#partialLength, at);
        at += n;
        this.#partialLength += n;
        if (this.#partialLength < HEADER_SIZE) break;
        this.#partialLength = 0;
        readHeader(this.#partial, 0, this.#header);
      }
      this.#keepalive.sign();
      this.frames.received++;
      const fault = this.#frame(this.#header);
      if (fault !== undefined) this.close(fault);
    }
    if (this.#waiting.length > 0) this.serve();
  }

  /** Lets streams that wait send, each in its turn, while there is room. */
  serve(): void {
    // Whoever has more is behind the others again.
    while (this.#waiting.length > 0 && this.room() > 0) this.#waiting.shift()?.send();
  }

  /**
   * At the end of a loop turn: puts those SYNs into the outbox that no data took along. An app that speaks first has its
   * bytes read in the turn after it connected, so a SYN waits for one more turn. An ACK leaves with whatever does.
   */
  announce(): void {
    if (this.#unannounced.turn()) this.#user.output();
    if (this.outbox.length > 0) this.#unannounced.answer();
  }

  /** Asks the peer to leave as soon as it can. Ends when it did and its last stream has, or `graceMs` later. */
  ask(graceMs: number): void {
    if (this.farewell.endAt !== undefined || this.#closed !== undefined) return;
    this.farewell.endAt = this.#now + graceMs;
    this.control(GO_AWAY, 0, 0, GO_AWAY_NORMAL);
    this.farewell.asks(this.#ping());
  }

  /** No more streams are to be opened here, by either side. Ends when the last one has, or `graceMs` later. */
  goAway(graceMs: number): void {
    if (this.farewell.told || this.#closed !== undefined) return;
    this.farewell.told = true;
    this.ask(graceMs);
    // Said twice it is no question.
    if (!this.#options.client) this.control(GO_AWAY, 0, 0, GO_AWAY_NORMAL);
    this.#leave();
  }

  /** Time goes on; called about once a second. */
  tick(now: number): void {
    if (this.#closed !== undefined) return;
    for (const allowance of this.#allowances) allowance.refill(now - this.#now);
    this.#unannounced.answer();
    this.#now = now;
    const life = this.#keepalive.tick(now);
    if (life === 'ask') this.#ping();
    if (this.streams > 0) this.#idleSince = now;
    if (life === 'dead') this.close('keepalive_timeout');
    else if (now >= (this.farewell.endAt ?? Number.POSITIVE_INFINITY)) this.close('grace');
    else if (now - this.#idleSince >= this.#options.idleMs) this.close('idle');
  }

  /** Ends the session and every stream of it. */
  close(reason: LinkCloseReason): void {
    if (this.#closed !== undefined) return;
    const code = ORDERLY.has(reason) ? GO_AWAY_NORMAL : GO_AWAY_PROTOCOL_ERROR;
    if (reason !== 'lost') this.control(GO_AWAY, 0, 0, code);
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    const error = new Error(`the shared connection ended: ${reason}`);
    const streams = [...this.#streams.all(), ...this.#unannounced.opened];
    this.#waiting.length = 0;
    for (const stream of streams) stream.lose(error);
    this.#payloadStream = undefined;
    this.#user.closed(reason);
  }

  get crowded(): boolean {
    return this.#waiting.length > 0;
  }

  room(): number {
    const room = this.outbox.room();
    if (room > 0 || this.outbox.writing || this.#closed !== undefined) return room;
    this.#user.full();
    return this.outbox.room();
  }

  data(flags: number, id: number, from: Buffer, start: number, end: number): void {
    if (this.#closed !== undefined) return;
    this.#sending();
    this.outbox.data(flags, id, from, start, end);
  }

  text(flags: number, id: number, text: string): void {
    if (this.#closed !== undefined) return;
    this.#sending();
    this.outbox.text(flags, id, text);
  }

  control(type: number, flags: number, id: number, value: number): void {
    if (this.#closed !== undefined) return;
    this.#sending();
    if (this.outbox.control(type, flags, id, value)) return;
    // No room even to say so.
    this.outbox.drop();
    this.close('unread_answers');
  }

  waitForRoom(stream: MuxStream): void {
    this.#waiting.push(stream);
  }

  announceLater(stream: MuxStream): void {
    if (stream.unanswered) {
      this.#unannounced.accept(stream);
      return;
    }
    this.#unannounced.open(stream);
    this.#user.output();
  }

  nextId(stream: MuxStream): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#streams.add(id, stream);
    return id;
  }

  remove(stream: MuxStream): void {
    this.memory.shrink(stream.grown);
    this.#streams.delete(stream.id);
    if (this.#payloadStream === stream) this.#payloadStream = undefined;
    if (stream.id === 0 || this.#isOurs(stream.id)) this.#ours--;
    else this.#theirs--;
    this.#doneIfEmpty();
  }

  #sending(): void {
    this.frames.sent++;
    if (this.outbox.length === 0) this.#user.output();
  }

  #isOurs(id: number): boolean {
    return (id % 2 === 1) === this.#options.client;
  }

  #frame({ version, type, flags, id, length }: Header): LinkCloseReason | undefined {
    if (version !== VERSION) return 'bad_version';
    if (type > GO_AWAY) return 'bad_type';
    if ((flags & ~ALL_FLAGS) !== 0 || ((flags & SYN) !== 0 && (flags & (ACK | RST)) !== 0)) return 'bad_flags';
    if (type <= WINDOW_UPDATE) return id === 0 ? 'bad_stream_id' : this.#streamFrame(type, flags, id, length);
    if (id !== 0) return 'bad_stream_id';
    if (type === PING) return this.#pingFrame(flags, length);
    if (length !== GO_AWAY_NORMAL) return 'peer_error';
    // Whoever connected leaves when it has where to go; who only accepts streams has nothing to leave.
    if (this.farewell.asked || !this.#options.client) this.#leave();
    else this.farewell.asked = true;
    return undefined;
  }

  #leave(): void {
    // Those that wait for data are open already: they must leave before the answer to the peer's ping.
    for (const stream of this.#unannounced.opened) stream.announce();
    const ping = this.farewell.leaves();
    if (ping !== undefined) this.control(PING, ACK, 0, ping);
    this.#doneIfEmpty();
  }

  #pingFrame(flags: number, value: number): LinkCloseReason | undefined {
    if (flags === ACK) {
      if (this.farewell.answered(value)) this.#doneIfEmpty();
      return undefined;
    }
    if (flags !== SYN) return 'bad_flags';
    if (!this.#pings.use()) return 'ping_flood';
    if (!this.farewell.holds(value)) this.control(PING, ACK, 0, value);
    return undefined;
  }

  #streamFrame(type: number, flags: number, id: number, length: number): LinkCloseReason | undefined {
    if (flags === 0 && length === 0 && !this.#empty.use()) return 'empty_frames';
    if ((flags & SYN) !== 0) {
      const fault = this.#accept(id);
      if (fault !== undefined) return fault;
    }
    if (type === DATA) this.#payload = length;
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      // What was on its way to a stream that is gone is dropped. One that never was is a fault.
      return this.#wasOpen(id) ? undefined : 'unknown_stream';
    }
    if ((flags & RST) !== 0) {
      if (stream.unanswered && !this.#resets.use()) return 'reset_flood';
      stream.receiveReset();
      return undefined;
    }
    if (stream.finReceived && (type === DATA || (flags & FIN) !== 0)) return 'data_after_fin';
    if (type === WINDOW_UPDATE) {
      if (length > 0 && !stream.receiveCredit(length)) return 'window_overflow';
      if ((flags & FIN) !== 0) stream.receiveFin();
      return undefined;
    }
    if (!stream.expect(length)) return 'window_exceeded';
    this.#payloadStream = stream;
    if (length === 0) this.#endOfPayload();
    return undefined;
  }

  #endOfPayload(): void {
    const stream = this.#payloadStream;
    this.#payloadStream = undefined;
    if ((this.#header.flags & FIN) !== 0) stream?.receiveFin();
  }

  #wasOpen(id: number): boolean {
    return this.#isOurs(id) ? id < this.#nextId : this.#theirIds.used(id);
  }

  #accept(id: number): LinkCloseReason | undefined {
    const verdict = this.#theirIds.take(id);
    if (verdict !== 'new') return verdict;
    if (!this.#syns.use()) return 'syn_flood';
    if (this.farewell.refusing || this.#theirs >= this.#options.maxStreams) {
      if (!this.#refusals.use()) return 'refusal_flood';
      this.control(WINDOW_UPDATE, RST, id, 0);
      return undefined;
    }
    const stream = new MuxStream(this, id);
    this.#streams.add(id, stream);
    this.#theirs++;
    this.#user.accepted(stream);
    return undefined;
  }

  /** Whoever connected closes first, when nothing is open; the other side when no stream can be on its way any more. */
  #doneIfEmpty(): void {
    const { leaving, refusing } = this.farewell;
    if (this.streams === 0 && (this.#options.client ? leaving : refusing)) this.close('done');
  }

  #ping(): number {
    this.#pingValue = (this.#pingValue + 1) % PING_VALUES;
    this.control(PING, SYN, 0, this.#pingValue);
    return this.#pingValue;
  }
}
