import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { boundBuffers } from '../../../../src/sidecar/buffers.ts';
import { HELD, type Link } from '../../../../src/sidecar/link.ts';
import { DATA, FIN, INITIAL_WINDOW, RST, SYN, WINDOW_UPDATE } from '../../../../src/sidecar/mux/frame.ts';
import { memoryWithin } from '../../../../src/sidecar/mux/memory.ts';
import { relay } from '../../../../src/sidecar/relay.ts';
import { inUse } from '../../../support/memory.ts';
import { bareSession, frame, Reader } from '../../../support/mux.ts';

/** As a sidecar has it; all other limits are those of a session without options. */
const MAX_STREAMS = 4096;
const MIB = 1024 * 1024;
/** The bytes that streams may hold for readers that do not read. */
const MAX_HELD = 64 * MIB;

t.test('streams never read, of which each has sent its whole window', async (t) => {
  const { session, closed } = bareSession({ client: false, maxStreams: MAX_STREAMS });
  const payload = Buffer.alloc(INITIAL_WINDOW);
  const before = await inUse();
  for (let i = 0; i < 1_000; i++) {
    session.receive(frame(DATA, SYN, 1 + 2 * i, INITIAL_WINDOW));
    session.receive(payload);
  }
  const held = (await inUse()) - before;
  t.same(closed, []);
  t.equal(session.memory.held, MAX_HELD);
  t.ok(held > 0.9 * MAX_HELD && held < 1.1 * MAX_HELD, `${held} bytes`);
});

t.test('streams never read, filled side by side in small frames', async (t) => {
  const { session, closed, output } = bareSession({ client: false, maxStreams: MAX_STREAMS });
  const before = await inUse();
  // 128 MiB, twice of what may be held: a window of each would be 1 GiB.
  for (let round = 0; round < 16; round++) {
    for (let i = 0; i < MAX_STREAMS; i++) session.receive(small(i, round));
    output();
  }
  const held = (await inUse()) - before;
  t.ok(session.memory.held > MAX_HELD / 2 && session.memory.held <= MAX_HELD, `${session.memory.held} bytes`);
  // The pieces that queues take double: at worst half of each is empty.
  t.ok(held < 2.5 * MAX_HELD, `${held} bytes`);
  t.same(closed, []);
  t.ok(session.streams > 0 && session.streams < MAX_STREAMS, 'who brought too much was reset');
});

t.test(
  'what a stream holds shows where it is decided who has to give way, and has bounds where memory has',
  async (t) => {
    const bounds = memoryWithin(96 * MIB);
    t.same(bounds, { maxHeld: 48 * MIB, maxGrowth: 12 * MIB });
    t.equal(memoryWithin(Number.POSITIVE_INFINITY).maxHeld, MAX_HELD);
    boundBuffers(0);
    t.teardown(() => boundBuffers(Number.POSITIVE_INFINITY));
    const { session, accepted } = bareSession({ client: false, ...bounds });
    session.receive(frame(DATA, SYN, 1, INITIAL_WINDOW));
    session.receive(Buffer.alloc(INITIAL_WINDOW));
    const [stream] = accepted;
    if (stream === undefined) throw new Error('not accepted');
    const nothing = () => {};
    // A destination that takes nothing.
    const app: Link = {
      ...{ open: nothing, resume: nothing, end: nothing, reset: nothing, renewSpace: nothing },
      ...{ write: () => HELD, writeText: () => HELD },
    };
    const one = relay(stream, app, { caller: 'first', received: { value: 0 }, sent: { value: 0 }, closed: nothing });
    await turn();
    t.equal(one.waiting(), INITIAL_WINDOW);
    t.ok(stream.held > 0, 'not all of it fits a small buffer of the relay');
    one.reset();
    t.equal(stream.held, 0);
  },
);

t.test('streams never closed, with one byte each that is never read', async (t) => {
  const { session, closed, accepted, output } = bareSession({ client: false, maxStreams: MAX_STREAMS });
  const before = await inUse();
  for (let i = 0; i < MAX_STREAMS; i++) session.receive(frame(DATA, SYN | (i % 2 === 0 ? FIN : 0), 1 + 2 * i, 1, 'x'));
  const each = ((await inUse()) - before) / MAX_STREAMS;
  t.equal(session.streams, MAX_STREAMS);
  t.ok(each < 4_096, `${each} bytes a stream`);
  session.receive(frame(DATA, SYN, 1 + 2 * MAX_STREAMS, 1, 'x'));
  t.equal(accepted.length, MAX_STREAMS, 'one more is refused');
  output();
  session.goAway(60_000);
  session.tick(60_000);
  t.same(closed, ['grace'], 'they do not keep the connection for ever');
  t.equal(session.streams, 0);
  accepted.length = 0;
  t.ok((await inUse()) - before < MIB, 'and leave nothing behind');
});

t.test(
  'SYN after SYN, at a rate that is allowed: reset, ended in order, with ids left out and used later',
  async (t) => {
    const { session, closed, accepted, output } = bareSession({ client: false, maxStreams: MAX_STREAMS });
    const ids = gappy();
    const one = (n: number) => {
      const id = ids();
      const abrupt = n % 2 === 0;
      session.receive(frame(DATA, SYN | (abrupt ? 0 : FIN), id, 1, 'x'));
      const stream = accepted.pop();
      if (stream === undefined) throw new Error(`not accepted: ${closed}`);
      stream.open(new Reader(1));
      stream.end();
      if (n % 64 === 0) output();
      if (abrupt) session.receive(frame(WINDOW_UPDATE, RST, id, 0));
    };
    let n = 0;
    const many = (upTo: number) => {
      for (; n < upTo; n++) {
        if (n % 40_000 === 0) session.tick((n / 40_000) * 1_000);
        one(n);
      }
    };
    many(20_000);
    const before = await inUse();
    many(100_000);
    const grown = (await inUse()) - before;
    t.same(closed, []);
    t.equal(session.streams, 0);
    t.ok(grown < MIB, `${grown} bytes`);
  },
);

/** A frame of 2 KiB for stream `i`, which the first one opens. */
function small(i: number, round: number): Buffer {
  return frame(DATA, round === 0 ? SYN : 0, 1 + 2 * i, 2_048, 'x'.repeat(2_048));
}

/** Ids in the worst order that is allowed: thousands are left out, and come later. */
function gappy(): () => number {
  const late: number[] = [];
  let next = 1;
  return () => {
    const due = late.length >= 4_000 ? late.shift() : undefined;
    if (due !== undefined) return due;
    late.push(next);
    next += 4;
    return next - 2;
  };
}
