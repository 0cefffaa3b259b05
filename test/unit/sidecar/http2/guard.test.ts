import t from 'tap';
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  FrameScanner,
  HEADERS,
  PING,
  SETTINGS,
} from '../../../../src/sidecar/http2/frames.ts';
import { Guard } from '../../../../src/sidecar/http2/guard.ts';
import { frame } from '../../../support/http2-raw.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const ping = (flags = 0) => frame(PING, flags, 0, Buffer.alloc(8));
const head = (stream: number, flags = END_HEADERS | END_STREAM) => frame(HEADERS, flags, stream, Buffer.alloc(20));

t.test('frames are found however their bytes are cut', (t) => {
  const bytes = Buffer.concat([
    PREFACE,
    frame(SETTINGS, 0, 0),
    head(1),
    frame(DATA, END_STREAM, 3, Buffer.alloc(300)),
    ping(ACK),
  ]);
  for (let size = 1; size <= bytes.length; size++) {
    const seen: number[][] = [];
    const scanner = new FrameScanner('server', (...all) => seen.push(all));
    for (let at = 0; at < bytes.length; at += size) scanner.feed(bytes.subarray(at, at + size));
    if (JSON.stringify(seen) !== '[[4,0,0,0],[1,5,1,20],[0,1,3,300],[6,1,0,8]]')
      t.fail(`${size}: ${JSON.stringify(seen)}`);
    if (scanner.begun) t.fail(`${size}: begun`);
  }
  t.end();
});

t.test('pings are for those who do something', (t) => {
  let now = 1_000;
  const guard = new Guard('client', () => now);
  for (let i = 0; i < 50; i++) t.equal(guard.feed(ping()), undefined);
  t.equal(guard.feed(ping(ACK)), undefined, 'answers do not count');
  t.equal(guard.feed(frame(DATA, 0, 1, Buffer.alloc(1))), undefined);
  t.equal(guard.feed(ping()), undefined, 'content allows one more');
  t.equal(guard.feed(ping()), 'ping_flood');
  now += 10_000;
  t.equal(guard.feed(ping()), undefined, 'and it is forgotten');
  t.end();
});

t.test('heads that were refused, and those that got through', (t) => {
  const guard = new Guard('server', () => 1_000);
  guard.feed(PREFACE);
  for (let i = 0; i < 40; i++) {
    t.equal(guard.feed(head(4 * i + 1)), undefined);
    guard.opened();
    guard.closed(4 * i + 1);
  }
  let reason: string | undefined;
  let refused = 0;
  for (; reason === undefined && refused < 100; refused++) reason = guard.feed(head(1_001 + 2 * refused));
  t.equal(reason, 'rejected_heads');
  t.equal(refused, 22);
  t.end();
});

t.test('an end by the peer is known from a reset', (t) => {
  const guard = new Guard('server', () => 1_000);
  guard.feed(Buffer.concat([PREFACE, head(1, END_HEADERS), head(3, END_HEADERS)]));
  guard.opened();
  guard.opened();
  guard.feed(Buffer.concat([frame(DATA, END_STREAM, 3, Buffer.alloc(3)), frame(DATA, 0, 1, Buffer.alloc(3))]));
  t.equal(guard.endedByPeer(3), true);
  t.equal(guard.endedByPeer(1), false);
  guard.closed(3);
  t.equal(guard.endedByPeer(3), false);
  t.end();
});

t.test('a block of headers has its time, content and our own pauses have not', (t) => {
  let now = 1_000;
  const guard = new Guard('server', () => now);
  now += 500;
  t.equal(guard.blockedFor(now), 500, 'the preface too');
  guard.feed(PREFACE);
  t.equal(guard.blockedFor(now), 0);
  guard.feed(head(1, END_STREAM));
  now += 1_000;
  guard.feed(frame(9, 0, 1, Buffer.alloc(5)));
  t.equal(guard.blockedFor(now), 1_000, 'frames of one block are one head');
  guard.forgive(now);
  t.equal(guard.blockedFor(now), 0);
  guard.feed(frame(9, END_HEADERS, 1, Buffer.alloc(5)));
  guard.feed(frame(DATA, 0, 1, Buffer.alloc(100)).subarray(0, 50));
  now += 60_000;
  t.equal(guard.blockedFor(now), 0);
  t.end();
});
