import t from 'tap';
import {
  ACK,
  DATA,
  FIN,
  GO_AWAY,
  INITIAL_WINDOW,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from '../../../../src/sidecar/mux/frame.ts';
import { bareSession, frame, framesIn, read } from '../../../support/mux.ts';

const zeros = (n: number) => Buffer.alloc(n);

/** What a peer sends to a server that knows of no stream yet, and the reason it is closed for. */
const faults: Array<[string, Buffer[], string]> = [
  ['a version of the future', [Buffer.from('01000000' + '00000000' + '00000000', 'hex')], 'bad_version'],
  ['an unknown type', [frame(4, 0, 0, 0)], 'bad_type'],
  ['an unknown flag', [frame(DATA, 16, 1, 0)], 'bad_flags'],
  ['SYN and ACK at once', [frame(DATA, SYN | ACK, 1, 0)], 'bad_flags'],
  ['SYN and RST at once', [frame(DATA, SYN | RST, 1, 0)], 'bad_flags'],
  ['a ping that is no question and no answer', [frame(PING, FIN, 0, 0)], 'bad_flags'],
  ['data of stream 0', [frame(DATA, SYN, 0, 0)], 'bad_stream_id'],
  ['a ping of a stream', [frame(PING, SYN, 1, 0)], 'bad_stream_id'],
  ['a go away of a stream', [frame(GO_AWAY, 0, 1, 0)], 'bad_stream_id'],
  ['an id of our own side', [frame(DATA, SYN, 2, 0)], 'bad_parity'],
  ['an id used again while it is open', [frame(DATA, SYN, 1, 0), frame(DATA, SYN, 1, 0)], 'id_reused'],
  [
    'an id used again after a reset',
    [frame(DATA, SYN, 1, 0), frame(DATA, RST, 1, 0), frame(DATA, SYN, 1, 0)],
    'id_reused',
  ],
  ['an id far ahead', [frame(DATA, SYN, 1, 0), frame(DATA, SYN, 100_001, 0)], 'too_many_gaps'],
  ['data of a stream that never was', [frame(DATA, 0, 1, 1, 'x')], 'unknown_stream'],
  ['data of a stream of ours that never was', [frame(DATA, 0, 2, 1, 'x')], 'unknown_stream'],
  ['data of a stream that was skipped', [frame(DATA, SYN, 3, 0), frame(DATA, 0, 1, 1, 'x')], 'unknown_stream'],
  ['a frame longer than the window', [frame(DATA, SYN, 1, INITIAL_WINDOW + 1)], 'window_exceeded'],
  [
    'frames that together are longer than the window',
    [frame(DATA, SYN, 1, INITIAL_WINDOW), zeros(INITIAL_WINDOW), frame(DATA, 0, 1, 1, 'x')],
    'window_exceeded',
  ],
  [
    'a window of more than 32 bits',
    [frame(WINDOW_UPDATE, SYN, 1, 0xffff_ffff), frame(WINDOW_UPDATE, 0, 1, 0xffff_ffff)],
    'window_overflow',
  ],
  ['data after FIN', [frame(DATA, SYN | FIN, 1, 0), frame(DATA, 0, 1, 1, 'x')], 'data_after_fin'],
  ['FIN after FIN', [frame(DATA, SYN | FIN, 1, 0), frame(WINDOW_UPDATE, FIN, 1, 0)], 'data_after_fin'],
  ['a go away with an error', [frame(GO_AWAY, 0, 0, 2)], 'peer_error'],
];

t.test('each fault closes the connection with its own reason, whole and byte by byte', async (t) => {
  for (const [name, bytes, reason] of faults) {
    for (const split of [false, true]) {
      const { session, closed, output, accepted } = bareSession({ client: false });
      for (const chunk of bytes) {
        if (!split) session.receive(chunk);
        else for (const byte of chunk) session.receive(Buffer.from([byte]));
      }
      t.same(closed, [reason], name);
      t.same(framesIn(output()).at(-1), [GO_AWAY, 0, 0, 1], 'it is told');
      for (const stream of accepted) t.notOk(stream.unanswered && session.streams > 0);
      t.equal(session.streams, 0);
    }
  }
});

/** Sends `make(i)` until the session is closed, or `most` times, reading what it answers; returns the reason. */
function flood(make: (i: number) => Buffer, most: number, reading = true) {
  const bare = bareSession({ client: false });
  let sent = 0;
  for (; sent < most && bare.closed.length === 0; sent++) {
    bare.session.receive(make(sent));
    if (reading) bare.output();
  }
  return { ...bare, sent };
}

t.test('a million SYNs', async (t) => {
  const { closed, accepted, sent } = flood((i) => frame(WINDOW_UPDATE, SYN, 1 + 2 * i, 0), 1_000_000);
  t.same(closed, ['refusal_flood']);
  t.equal(accepted.length, 100, 'no more streams than allowed');
  t.equal(sent, 2_101);
});

t.test('a million SYNs, each reset at once', async (t) => {
  const { closed, session, sent } = flood(
    (i) => Buffer.concat([frame(WINDOW_UPDATE, SYN, 1 + 2 * i, 0), frame(WINDOW_UPDATE, RST, 1 + 2 * i, 0)]),
    1_000_000,
  );
  t.same(closed, ['reset_flood']);
  t.equal(session.streams, 0);
  t.equal(sent, 2_001);
});

t.test('a million streams that end in order are too many for one second, and fine over time', async (t) => {
  const { session, closed, accepted, output } = bareSession({ client: false });
  let i = 0;
  const one = () => {
    session.receive(frame(DATA, SYN | FIN, 1 + 2 * i++, 0));
    const stream = accepted.pop();
    if (stream === undefined) return;
    read(stream);
    stream.end();
    output();
  };
  for (let second = 1; second <= 3; second++) {
    for (let n = 0; n < 40_000; n++) one();
    session.tick(second * 1000);
  }
  t.same(closed, []);
  while (closed.length === 0 && i < 1_000_000) one();
  t.same(closed, ['syn_flood']);
});

t.test('pings: some are answered, a flood is not', async (t) => {
  const { closed, sent } = flood((i) => frame(PING, SYN, 0, i), 1_000_000);
  t.same(closed, ['ping_flood']);
  t.equal(sent, 51);
});

t.test('frames of no length and no meaning', async (t) => {
  for (const type of [DATA, WINDOW_UPDATE]) {
    const { closed, sent } = flood((i) => frame(type, i === 0 ? SYN : 0, 1, 0), 1_000_000);
    t.same(closed, ['empty_frames']);
    t.equal(sent, 1_002);
  }
});

t.test('a peer that asks and never reads the answers', async (t) => {
  const { session, closed } = bareSession({ client: false, maxStreams: 4096 });
  session.outbox.writing = true;
  for (let i = 0; i < 1_000_000 && closed.length === 0; i++) {
    session.receive(frame(WINDOW_UPDATE, SYN, 1 + 2 * i, 0));
    if (i % 100 === 0) session.tick(i);
    session.receive(frame(PING, SYN, 0, i));
  }
  t.same(closed, ['ping_flood']);
  const refused = bareSession({ client: false, maxStreams: 0 });
  refused.session.outbox.writing = true;
  for (let i = 0; i < 100_000 && refused.closed.length === 0; i++) {
    refused.session.receive(frame(WINDOW_UPDATE, SYN, 1 + 2 * i, 0));
    if (i % 500 === 499) refused.session.tick(2 * i);
  }
  t.same(refused.closed, ['unread_answers']);
});

t.test('half a header for ever is no sign of life', async (t) => {
  const { session, closed } = bareSession({ client: false, idleMs: 1e9 });
  session.receive(frame(DATA, SYN, 1, 0));
  session.tick(1);
  const slow = frame(DATA, 0, 1, 1);
  for (let i = 0; i < 8; i++) {
    session.receive(slow.subarray(i, i + 1));
    session.tick(1 + i * 5_001);
    session.outbox.drop();
  }
  session.tick(45_000);
  t.same(closed, ['keepalive_timeout']);
});

t.test('streams that are never read hold no more than the connection may, and no more than they should', async (t) => {
  const { session, closed, accepted, output } = bareSession({ client: false, maxHeld: 1 << 20 });
  const payload = zeros(INITIAL_WINDOW);
  for (let i = 0; i < 50; i++) {
    session.receive(frame(DATA, SYN, 1 + 2 * i, INITIAL_WINDOW));
    session.receive(payload);
  }
  t.same(closed, [], 'the others are not made to pay for it');
  t.equal(session.streams, 4);
  t.equal(accepted.length, 50);
  const resets = framesIn(output()).filter(([, flags]) => flags === RST);
  t.equal(resets.length, 46, 'a stream that brings too much is reset');
});

t.test('a stream that is never read in bytes of one costs what it holds', async (t) => {
  const { session, closed } = bareSession({ client: false });
  const one = frame(DATA, 0, 1, 1, 'x');
  session.receive(frame(DATA, SYN, 1, 0));
  const before = process.memoryUsage().arrayBuffers;
  const many = Buffer.concat(Array.from({ length: 1024 }, () => one));
  for (let i = 0; i < INITIAL_WINDOW / 1024; i++) session.receive(many);
  const held = process.memoryUsage().arrayBuffers - before;
  t.ok(held < 4 * INITIAL_WINDOW, `${held} bytes`);
  t.same(closed, []);
  session.receive(one);
  t.same(closed, ['window_exceeded']);
});

t.test('a caller that is not allowed to open streams is refused each', async (t) => {
  const { session, accepted, output } = bareSession({ client: true, maxStreams: 0 });
  session.receive(frame(DATA, SYN | FIN, 2, 3, 'abc'));
  t.equal(accepted.length, 0);
  t.same(framesIn(output()), [[WINDOW_UPDATE, RST, 2, 0]]);
});

t.test('ids may come out of order: a peer opens streams side by side', async (t) => {
  const { session, closed, accepted } = bareSession({ client: false });
  for (const id of [5, 1, 9, 3, 7]) session.receive(frame(DATA, SYN, id, 0));
  t.same(
    accepted.map((stream) => stream.id),
    [5, 1, 9, 3, 7],
  );
  session.receive(frame(DATA, SYN, 3, 0));
  t.same(closed, ['id_reused']);
});
