import t from 'tap';
import { UpstreamSession } from '../../../../src/sidecar/http2/upstream.ts';
import { type Link, type LinkUser, TAKEN } from '../../../../src/sidecar/link.ts';
import { onlyLoad } from '../../../../src/sidecar/load.ts';
import { DEFAULT_HTTP_LIMITS, DEFAULT_HTTP2_LIMITS } from '../../../../src/sidecar/options.ts';
import { frame } from '../../../support/http2-raw.ts';

const turns = async () => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
};

function start() {
  let now = 1_000_000;
  let user: LinkUser | undefined;
  const log: string[] = [];
  const written: Buffer[] = [];
  const link: Link = {
    open: (one) => {
      user = one;
    },
    resume() {},
    write(chunk) {
      written.push(Buffer.from(chunk));
      return TAKEN;
    },
    writeText: () => TAKEN,
    end: () => log.push('end'),
    reset() {
      log.push('reset');
      user?.closed(undefined);
    },
    renewSpace() {},
  };
  const load = onlyLoad();
  const context = {
    direction: 'outbound' as const,
    http2: DEFAULT_HTTP2_LIMITS,
    limits: DEFAULT_HTTP_LIMITS,
    streamIdleMs: 3_600_000,
    graceMs: 1_000,
    now: () => now,
    newRequestId: () => 'id',
    newTraceparent: undefined,
    rejected() {},
    done() {},
    flooded: (reason: string) => log.push(reason),
  };
  const upstream = new UpstreamSession(
    { link, load, expiresAt: now + 3_000_000 },
    context,
    () => {},
    () => log.push('gone'),
  );
  const receive = (bytes: Buffer) => {
    bytes.copy(user?.space() ?? Buffer.alloc(0));
    user?.filled(bytes.length);
  };
  receive(frame(4, 0, 0));
  return {
    upstream,
    load,
    log,
    receive,
    tick(ms: number) {
      now += ms;
      upstream.tick(now, 45_000);
    },
    pings: () => Buffer.concat(written).toString('latin1').split('\0\0\x08\x06\0\0\0\0\0').length - 1,
  };
}

const HEAD = [':method', 'GET', ':scheme', 'http', ':authority', 'a', ':path', '/'];

t.test(
  'a silent connection with a request is asked whether it is there, and given up when it says nothing',
  async (t) => {
    const { upstream, load, tick, pings, log } = start();
    upstream.request(HEAD, true);
    t.equal(load.active, 1);
    await turns();
    tick(1_000);
    tick(29_000);
    await turns();
    t.equal(pings(), 0);
    tick(1_000);
    await turns();
    t.equal(pings(), 1);
    tick(19_000);
    t.equal(upstream.gone, false);
    tick(1_000);
    t.equal(upstream.gone, true);
    await turns();
    t.match(log, ['reset', 'gone']);
    t.equal(load.active, 0);
  },
);

t.test('one without a request is left alone, and goes when it was idle for long enough', async (t) => {
  const { upstream, tick, pings, log } = start();
  await turns();
  tick(1_000);
  tick(44_000);
  await turns();
  t.equal(pings(), 0);
  t.equal(upstream.usable, true);
  tick(1_000);
  t.equal(upstream.usable, false);
  await turns();
  t.match(log, ['end']);
});

t.test('a peer that floods a connection that we opened loses it too', async (t) => {
  const { upstream, receive, log } = start();
  await turns();
  for (let i = 0; i < 60 && !upstream.gone; i++) receive(frame(6, 0, 0, Buffer.alloc(8)));
  await turns();
  t.equal(upstream.gone, true);
  t.equal(log[0], 'ping_flood');
});

t.test('one that is old enough takes no more requests, and ends with those it has', async (t) => {
  const { upstream, tick, log } = start();
  const stream = upstream.request(HEAD, true);
  await turns();
  tick(2_999_999);
  t.equal(upstream.usable, true);
  tick(1);
  t.equal(upstream.usable, false);
  t.equal(upstream.gone, false);
  stream.close(8);
  await turns();
  tick(1_000);
  await turns();
  t.match(log, ['end']);
});
