import { strict as assert } from 'node:assert';
import {
  ACK,
  DATA,
  FIN,
  GO_AWAY,
  HEADER_SIZE,
  INITIAL_WINDOW,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from '../../src/sidecar/mux/frame.ts';
import { LINK_CLOSE_REASONS } from '../../src/sidecar/mux/reasons.ts';
import type { MuxStream } from '../../src/sidecar/mux/stream.ts';
import { type Bare, bareSession, frame, framesIn, Reader } from './mux.ts';

type Random = (below: number) => number;

/** What became of the inputs: how many ended for which reason. */
export type Outcome = Map<string, number>;

/** Frames that sessions were given: whole, cut, flipped, and pieces of noise in place of one. */
let given = 0;

/** Frames that sessions were given since the start of this process. */
export const framesGiven = (): number => given;

const MAX_HELD = 1 << 20;
const MAX_STREAMS = 16;
const REASONS: ReadonlySet<string> = new Set(LINK_CLOSE_REASONS);

/**
 * Feeds `inputs` hostile inputs to sessions: good frames with flipped bits, cuts, other orders, or plain noise. Every
 * tenth is a dialogue of two good sessions with random pieces, pauses and resets, whose bytes must arrive unchanged.
 * Throws when one crashes, is left without a closed reason, or grows past its bounds. The same seed does the same.
 */
export function fuzzMux(inputs: number, seed: number): Outcome {
  const random = randomFrom(seed);
  const outcome: Outcome = new Map();
  for (let i = 0; i < inputs; i++) {
    try {
      const reason =
        i % 10 === 0 ? dialogue(random) : attack(mutate(goodFrames(random), random), random, random(8) === 0);
      outcome.set(reason, (outcome.get(reason) ?? 0) + 1);
    } catch (cause) {
      throw new Error(`input ${i} of seed ${seed}`, { cause });
    }
  }
  return outcome;
}

/** Sends the first part of a good exchange, then nothing: for every place to cut at. Returns the reasons. */
export function cutEverywhere(seed: number): Outcome {
  const outcome: Outcome = new Map();
  const bytes = Buffer.concat(goodFrames(randomFrom(seed)));
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reason = attack([bytes.subarray(0, cut)], randomFrom(cut), false);
    outcome.set(reason, (outcome.get(reason) ?? 0) + 1);
  }
  return outcome;
}

/** mulberry32: small, fast, and the same everywhere. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
}

function goodFrames(random: Random): Buffer[] {
  const frames: Buffer[] = [];
  let streams = 0;
  for (let n = 0; n < 4 + random(24); n++) {
    const id = 1 + 2 * random(streams || 1);
    const text = 'x'.repeat(random(40));
    const kind = random(10);
    if (kind < 2 || streams === 0) frames.push(frame(DATA, SYN, 1 + 2 * streams++, text.length, text));
    else if (kind < 6) frames.push(frame(DATA, 0, id, text.length, text));
    else if (kind === 6) frames.push(frame(WINDOW_UPDATE, random(2) * ACK, id, random(INITIAL_WINDOW)));
    else if (kind === 7) frames.push(frame(WINDOW_UPDATE, random(2) === 0 ? FIN : RST, id, 0));
    else if (kind === 8) frames.push(frame(PING, random(4) === 0 ? ACK : SYN, 0, n));
    else if (random(8) === 0) frames.push(frame(GO_AWAY, 0, 0, 0));
  }
  return frames;
}

function mutate(frames: Buffer[], random: Random): Buffer[] {
  for (let n = random(4); n > 0; n--) {
    const at = random(frames.length);
    const one = frames[at] ?? Buffer.alloc(0);
    switch (random(6)) {
      case 0: {
        const flipped = Buffer.from(one);
        const byte = random(Math.min(HEADER_SIZE, flipped.length || 1));
        if (byte < flipped.length) flipped.writeUInt8(flipped.readUInt8(byte) ^ (1 << random(8)), byte);
        frames[at] = flipped;
        break;
      }
      case 1:
        frames[at] = one.subarray(0, random(one.length + 1));
        break;
      case 2: {
        const other = random(frames.length);
        [frames[at], frames[other]] = [frames[other] ?? one, one];
        break;
      }
      case 3:
        frames.splice(at, 0, one);
        break;
      case 4:
        frames.splice(at, 1);
        break;
      default:
        frames.splice(at, 0, Buffer.from(Array.from({ length: random(30) }, () => random(256))));
    }
    if (frames.length === 0) frames.push(Buffer.alloc(0));
  }
  return frames;
}

/** Lets a session have the bytes in random pieces, then silence; it must end with a reason of the list. */
function attack(frames: readonly Buffer[], random: Random, client: boolean): string {
  const bare = bareSession({ client, maxStreams: MAX_STREAMS, maxHeld: MAX_HELD, idleMs: 60_000 });
  const { session, accepted, closed } = bare;
  const bytes = Buffer.concat(frames);
  given += frames.length;
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random(random(2) === 0 ? 16 : 400);
    session.receive(bytes.subarray(at, end));
    at = end;
    for (const stream of accepted.splice(0)) use(stream, random);
    if (random(2) === 0) bare.output();
    assert.ok(session.streams <= MAX_STREAMS);
    assert.ok(session.outbox.length <= 256 * 1024);
  }
  for (let now = 5_000; closed.length === 0 && now <= 1_000_000; now += 5_000) {
    bare.output();
    session.tick(now);
  }
  // As the socket does when it closes.
  session.outbox.drop();
  const [reason, ...more] = closed;
  assert.ok(reason !== undefined && REASONS.has(reason), 'it must end');
  assert.equal(more.length, 0, 'and once');
  assert.equal(session.streams, 0);
  return reason;
}

function use(stream: MuxStream, random: Random): void {
  const reader = new Reader();
  reader.reading = random(3) > 0;
  if (random(4) > 0) stream.open(reader);
  const kind = random(4);
  if (kind === 0) stream.reset();
  if (kind === 1) stream.write(Buffer.alloc(random(2000)));
  if (kind === 2) stream.end();
}

interface Side {
  readonly stream: MuxStream;
  readonly reader: Reader;
  readonly sent: Buffer[];
  /** What a write may not touch until it is told. */
  blocked: boolean;
  ended: boolean;
}

function dialogue(random: Random): string {
  const client = bareSession({ client: true });
  const server = bareSession({ client: false });
  const sides: Side[] = [];
  const pairs: Array<[Side, Side]> = [];
  const add = (stream: MuxStream): Side => {
    const reader = new Reader(1 + random(5000));
    const side: Side = { stream, reader, sent: [], blocked: false, ended: false };
    reader.written = () => {
      side.blocked = false;
    };
    stream.open(reader);
    sides.push(side);
    return side;
  };
  const ours: Side[] = [];
  let reset = false;
  for (let step = 0; step < 60; step++) {
    if (ours.length < 4 && random(6) === 0) ours.push(add(client.session.stream()));
    const side = sides[random(sides.length || 1)];
    if (side !== undefined) act(side, random);
    if (side !== undefined && random(100) === 0) {
      reset = true;
      side.stream.reset();
      side.ended = true;
    }
    move(client, server, random);
    move(server, client, random);
    for (const stream of server.accepted.splice(0)) {
      const theirs = ours.find((one) => one.stream.id === stream.id);
      if (theirs !== undefined) pairs.push([theirs, add(stream)]);
    }
  }
  for (let rest = 0; rest < 400; rest++) {
    for (const side of sides) {
      side.reader.reading = true;
      side.stream.resume();
      if (!side.blocked) side.stream.end();
    }
    move(client, server, random);
    move(server, client, random);
    for (const stream of server.accepted.splice(0)) {
      const theirs = ours.find((one) => one.stream.id === stream.id);
      if (theirs !== undefined) pairs.push([theirs, add(stream)]);
    }
  }
  assert.deepEqual([client.closed, server.closed], [[], []]);
  assert.equal(pairs.length, ours.filter(({ stream }) => stream.id !== 0).length);
  for (const [a, b] of pairs) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const [sent, got] = [Buffer.concat(from.sent), to.reader.bytes];
      assert.ok(got.equals(reset ? sent.subarray(0, got.length) : sent), 'bytes arrive unchanged, and all of them');
    }
  }
  assert.equal(client.session.streams + server.session.streams, 0, 'nothing is left');
  for (const { session } of [client, server]) session.outbox.drop();
  return 'dialogue';
}

function act(side: Side, random: Random): void {
  const kind = random(8);
  if (kind < 5 && !side.blocked && !side.ended) {
    const body = Buffer.alloc(random(kind === 0 ? 300_000 : 2_000), random(256));
    if (body.length === 0) return;
    side.sent.push(body);
    side.blocked = side.stream.write(body) !== 0;
  } else if (kind === 5) {
    side.reader.reading = false;
  } else if (kind === 6) {
    side.reader.reading = true;
    side.stream.resume();
  } else if (random(4) === 0 && !side.ended) {
    side.ended = true;
    side.stream.end();
  }
}

/** Carries what one side has to say to the other, in random pieces. */
function move(from: Bare, to: Bare, random: Random): void {
  const bytes = from.output();
  given += framesIn(bytes).length;
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random(random(3) === 0 ? 20 : 100_000);
    to.session.receive(bytes.subarray(at, end));
    at = end;
  }
}
