import { randomBytes } from 'node:crypto';
import t from 'tap';
import { BUSY, HELD, TAKEN } from '../../../../src/sidecar/link.ts';
import {
  ACK,
  DATA,
  GO_AWAY,
  INITIAL_WINDOW,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from '../../../../src/sidecar/mux/frame.ts';
import type { MuxStream } from '../../../../src/sidecar/mux/stream.ts';
import { type Bare, bareSession, exchange, frame, framesIn, read, write } from '../../../support/mux.ts';

function pair(options: Parameters<typeof bareSession>[0] | object = {}) {
  return { client: bareSession({ ...options, client: true }), server: bareSession({ ...options, client: false }) };
}

function first(server: Bare): MuxStream {
  const [stream] = server.accepted;
  if (stream === undefined) throw new TypeError('no stream was accepted');
  return stream;
}

/** Long enough for the microtasks that tell of an end. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test('a SYN rides on the first data, an ACK on the first answer', async (t) => {
  const { client, server } = pair();
  const stream = client.session.stream();
  const asked = read(stream);
  t.equal(write(stream, 'question'), TAKEN);
  const out = client.output();
  t.same(framesIn(out), [[DATA, SYN, 1, 8]]);
  server.session.receive(out);
  const answered = read(first(server));
  t.equal(answered.text, 'question');
  write(first(server), 'answer');
  const back = server.output();
  t.same(framesIn(back), [[DATA, ACK, 1, 6]]);
  client.session.receive(back);
  t.equal(asked.text, 'answer');
});

t.test('a stream whose app says nothing is opened all the same, a loop turn later', async (t) => {
  const { client, server } = pair();
  const stream = client.session.stream();
  const heard = read(stream);
  client.session.announce();
  t.equal(client.session.outbox.length, 0, 'an app that speaks first is given the time to');
  const out = client.output();
  t.same(framesIn(out), [[WINDOW_UPDATE, SYN, 1, 0]]);
  server.session.receive(out);
  read(first(server));
  t.equal(server.output().length, 0, 'an ACK alone is worth no write of its own');
  server.session.tick(1_000);
  t.same(framesIn(server.output()), [[WINDOW_UPDATE, ACK, 1, 0]], 'but for a second');
  write(first(server), '220 ready');
  exchange(client, server);
  t.equal(heard.text, '220 ready');
});

t.test('half-closes both ways end the stream, and only then', async (t) => {
  const { client, server } = pair();
  const stream = client.session.stream();
  const asked = read(stream);
  write(stream, 'q');
  stream.end();
  exchange(client, server);
  const answered = read(first(server));
  t.equal(answered.endedTimes, 1);
  await turn();
  t.same(answered.closedWith, []);
  write(first(server), 'late answer');
  first(server).end();
  exchange(client, server);
  await turn();
  t.equal(asked.text, 'late answer');
  t.same([asked.closedWith, answered.closedWith], [[undefined], [undefined]]);
  t.equal(client.session.streams + server.session.streams, 0);
});

t.test(
  'a reset reaches the other side as an error, drops what was on its way, and is answered by nothing',
  async (t) => {
    const { client, server } = pair();
    const stream = client.session.stream();
    const reset = read(stream);
    write(stream, 'x');
    exchange(client, server);
    const victim = read(first(server));
    write(first(server), 'never arrives');
    const crossing = server.output();
    stream.reset();
    t.same(framesIn(client.output()), [[WINDOW_UPDATE, RST, 1, 0]]);
    client.session.receive(crossing);
    server.session.receive(frame(WINDOW_UPDATE, RST, 1, 0));
    await turn();
    t.same(reset.closedWith, [undefined]);
    t.match(victim.closedWith, [{ code: 'ECONNRESET' }]);
    t.equal(reset.text, '');
    t.equal(server.output().length, 0);
    t.same([client.closed, server.closed], [[], []]);
  },
);

t.test('a stream that is reset before its SYN left leaves no trace', async (t) => {
  const { client } = pair();
  client.session.stream().reset();
  t.equal(client.output().length, 0);
  write(client.session.stream(), 'x');
  t.same(framesIn(client.output()), [[DATA, SYN, 1, 1]]);
  t.equal(client.session.streams, 1);
});

t.test('a reader that does not read stalls its own stream and nobody else', async (t) => {
  const { client, server } = pair();
  const stalled = client.session.stream();
  const sender = read(stalled);
  const body = randomBytes(2 * INITIAL_WINDOW);
  t.equal(stalled.write(body), HELD, 'more than the window is held');
  exchange(client, server);
  const reader = read(first(server), false);
  exchange(client, server);
  t.equal(sender.writtenTimes, 0);
  const other = client.session.stream();
  read(other);
  const rows: number[] = [];
  for (let i = 0; i < 100; i++) {
    rows.push(other.write(randomBytes(10_000)));
    exchange(client, server);
    if (i === 0) read(server.accepted[1] ?? first(server));
  }
  t.ok(
    rows.every((result) => result === TAKEN),
    'a million bytes pass beside it',
  );
  reader.reading = true;
  first(server).resume();
  exchange(client, server);
  t.equal(sender.writtenTimes, 1);
  t.ok(reader.bytes.equals(body));
});

t.test('a small write that must wait is copied: its memory may be shared', async (t) => {
  const { client, server } = pair();
  const stream = client.session.stream();
  read(stream);
  stream.write(randomBytes(INITIAL_WINDOW - 1));
  exchange(client, server);
  const shared = Buffer.from('abc');
  t.equal(stream.write(shared), BUSY);
  shared.fill('!');
  const reader = read(first(server));
  exchange(client, server);
  t.equal(reader.bytes.subarray(-3).toString(), 'abc');
});

t.test('a text leaves as its latin1 bytes, and one that finds no room waits', async (t) => {
  const { client, server } = pair();
  const stream = client.session.stream();
  read(stream);
  t.equal(stream.writeText('\xe9t\xe9'), TAKEN);
  const out = client.output();
  t.same(framesIn(out), [[DATA, SYN, 1, 3]]);
  server.session.receive(out);
  const reader = read(first(server), false);
  stream.write(Buffer.alloc(INITIAL_WINDOW - 5, '.'));
  exchange(client, server);
  t.equal(stream.writeText('abc'), BUSY, 'two of its bytes fit the window');
  exchange(client, server);
  reader.reading = true;
  first(server).resume();
  exchange(client, server);
  t.equal(reader.text.slice(0, 3), '\xe9t\xe9');
  t.equal(reader.text.slice(-4), '.abc');
  t.equal(reader.bytes.length, INITIAL_WINDOW + 1);
});

t.test('the window grows while the reader keeps up, and stays within the budget of the connection', async (t) => {
  for (const [maxGrowth, most] of [
    [1 << 30, 1 << 20],
    [0, INITIAL_WINDOW],
  ] as const) {
    const { client, server } = pair({ maxGrowth });
    const stream = client.session.stream();
    read(stream);
    write(stream, 'x');
    exchange(client, server);
    const reader = read(first(server));
    for (let i = 0; i < 64; i++) {
      stream.write(randomBytes(100_000));
      exchange(client, server);
    }
    t.equal(reader.bytes.length, 6_400_001);
    t.equal(first(server).grown, most - INITIAL_WINDOW);
  }
});

t.test('streams that wait for room send in turn', async (t) => {
  const { client, server } = pair();
  const [big, small] = [client.session.stream(), client.session.stream()];
  for (const stream of [big, small]) read(stream);
  big.write(randomBytes(250_000));
  write(small, 'after the first turn of the big one');
  exchange(client, server);
  const [one, two] = server.accepted.map((stream) => read(stream));
  exchange(client, server);
  t.equal(one?.bytes.length, 250_000);
  t.equal(two?.text, 'after the first turn of the big one');
});

t.test('go away: streams that are open go on, those that crossed it are served, later ones are refused', async (t) => {
  const { client, server } = pair();
  const old = client.session.stream();
  const reader = read(old);
  write(old, 'a');
  exchange(client, server);
  read(first(server));
  exchange(client, server);
  server.session.goAway(60_000);
  const farewell = server.output();
  t.same(framesIn(farewell), [
    [GO_AWAY, 0, 0, 0],
    [PING, SYN, 0, 1],
    [GO_AWAY, 0, 0, 0],
    [WINDOW_UPDATE, ACK, 1, 0],
  ]);
  const crossing = client.session.stream();
  write(crossing, 'b');
  server.session.receive(client.output());
  t.equal(server.accepted.length, 2, 'it was on its way');
  client.session.receive(farewell);
  t.notOk(client.session.open);
  server.session.receive(client.output());
  server.session.receive(frame(DATA, SYN, 5, 1, 'c'));
  t.equal(server.accepted.length, 2);
  t.same(framesIn(server.output()), [[WINDOW_UPDATE, RST, 5, 0]]);
  write(first(server), 'still here');
  exchange(client, server);
  t.equal(reader.text, 'still here');
  for (const stream of [old, crossing]) stream.reset();
  t.same(client.closed, ['done'], 'whoever connected closes after the last stream');
  exchange(client, server);
  t.same(server.closed, ['done']);
});

t.test('asked to go away: streams are served until whoever connected left, or is told so', async (t) => {
  for (const told of [false, true]) {
    const { client, server } = pair();
    server.session.ask(60_000);
    exchange(client, server);
    t.ok(client.session.farewell.asked);
    t.ok(client.session.open);
    read(client.session.stream());
    exchange(client, server);
    t.equal(server.accepted.length, 1, 'the answer to the ping is still owed');
    if (told) server.session.goAway(60_000);
    else client.session.goAway(60_000);
    exchange(client, server);
    t.notOk(client.session.open);
    server.session.receive(frame(WINDOW_UPDATE, SYN, 3, 0));
    t.equal(server.accepted.length, 1, 'one that comes after it is refused');
    first(server).reset();
    exchange(client, server);
    t.same(server.closed, ['done']);
  }
});

t.test(
  'go away: a stream that still waits for its first data is announced before the answer to the ping',
  async (t) => {
    const { client, server } = pair();
    read(client.session.stream());
    exchange(client, server);
    server.session.goAway(60_000);
    read(client.session.stream());
    client.session.receive(server.output());
    const out = client.session.outbox.take();
    t.same(framesIn(Buffer.from(out?.bytes ?? '')), [
      [WINDOW_UPDATE, SYN, 3, 0],
      [PING, ACK, 0, 1],
    ]);
    out?.done();
  },
);

t.test('go away ends after its grace even if a stream never does', async (t) => {
  const { client, server } = pair();
  const reader = read(client.session.stream());
  exchange(client, server);
  read(first(server));
  client.session.goAway(5_000);
  exchange(client, server);
  client.session.tick(4_999);
  t.same(client.closed, []);
  client.session.tick(5_000);
  t.same(client.closed, ['grace']);
  await turn();
  t.match(reader.closedWith, [Error]);
});

t.test('a connection without streams is closed after its idle time', async (t) => {
  const { client } = pair({ idleMs: 20_000 });
  const stream = client.session.stream();
  client.session.tick(19_000);
  stream.reset();
  client.session.tick(38_999);
  t.same(client.closed, []);
  client.session.tick(39_000);
  t.same(client.closed, ['idle']);
  t.same(framesIn(client.output()).at(-1), [GO_AWAY, 0, 0, 0]);
});

t.test('a silent peer is asked, and given up when it does not answer', async (t) => {
  const { client, server } = pair({ idleMs: 1e9 });
  client.session.tick(29_999);
  t.equal(client.output().length, 0);
  client.session.tick(30_000);
  exchange(client, server);
  client.session.tick(41_000);
  t.same(client.closed, [], 'it answered');
  client.session.tick(71_000);
  t.same(framesIn(client.output()), [[PING, SYN, 0, 2]]);
  client.session.tick(80_999);
  t.same(client.closed, []);
  client.session.tick(81_000);
  t.same(client.closed, ['keepalive_timeout']);
});

t.test('when the connection is lost every stream ends with an error, also one that nobody opened yet', async (t) => {
  const { client, server } = pair();
  const readers = [client.session.stream(), client.session.stream()].map((stream) => read(stream));
  exchange(client, server);
  server.session.close('lost');
  t.equal(server.output().length, 0, 'there is nobody to tell');
  const late = read(first(server));
  client.session.close('lost');
  await turn();
  for (const reader of [...readers, late]) t.match(reader.closedWith, [Error]);
  t.notOk(client.session.open);
});

t.test('bytes arrive unchanged whatever pieces they come in', async (t) => {
  for (const piece of [1, 2, 11, 12, 13, 1000]) {
    const { client, server } = pair();
    const streams = Array.from({ length: 3 }, () => client.session.stream());
    const bodies = streams.map((_, i) => randomBytes(1 + i * 7_000));
    streams.forEach((stream, i) => {
      read(stream);
      stream.write(bodies[i] ?? Buffer.alloc(0));
      stream.end();
    });
    const readers = new Map<MuxStream, ReturnType<typeof read>>();
    const out = client.output();
    for (let at = 0; at < out.length; at += piece) {
      server.session.receive(out.subarray(at, at + piece));
      for (const stream of server.accepted) if (!readers.has(stream)) readers.set(stream, read(stream));
    }
    t.same(server.closed, []);
    t.same(
      [...readers.values()].map((reader, i) => reader.bytes.equals(bodies[i] ?? Buffer.alloc(0)) && reader.endedTimes),
      [1, 1, 1],
      `pieces of ${piece}`,
    );
  }
});
