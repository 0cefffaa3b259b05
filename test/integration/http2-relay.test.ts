import { type EventEmitter, once } from 'node:events';
import { constants } from 'node:http2';
import { connect } from 'node:tls';
import t from 'tap';
import { frame, POST, rawHttp2, TYPES } from '../support/http2-raw.ts';
import { answerOf, ask, startHttp2 } from '../support/http2-rig.ts';
import { swap } from '../support/identity-files.ts';
import { until } from '../support/until.ts';

const GRPC = { ':method': 'POST', 'content-type': 'application/grpc' };

t.test('requests with bodies and trailers both ways, over one mTLS connection and one to the app', async (t) => {
  const rig = await startHttp2(t, (stream, headers) => {
    const chunks: Buffer[] = [];
    let got: unknown;
    stream.on('trailers', (trailers) => {
      got = trailers['x-sum'];
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => {
      stream.respond(
        { ':status': 201, 'x-path': String(headers[':path']), 'x-sidelock-reason': 'forged' },
        { waitForTrailers: true },
      );
      stream.once('wantTrailers', () =>
        stream.sendTrailers({
          'x-length': String(Buffer.concat(chunks).length),
          'x-got': String(got),
          'x-forwarded-for': 'forged',
        }),
      );
      stream.end(Buffer.concat(chunks));
    });
  });
  const session = rig.local();
  const body = Buffer.alloc(3_000_000, 'sidelock');
  const stream = session.request(
    { ':method': 'POST', ':path': '/up?q=1' },
    { endStream: false, waitForTrailers: true },
  );
  stream.once('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7', 'x-forwarded-client-cert': 'forged' }));
  stream.end(body);
  const big = await answerOf(stream);
  t.match(big, { status: 201, code: 0, ended: true, headers: { 'x-path': '/up?q=1' } });
  t.equal(big.body.length, body.length);
  t.ok(Buffer.from(big.body, 'latin1').equals(body), 'every byte as it was sent');
  t.equal(big.headers['x-sidelock-reason'], undefined, 'which only a sidecar says');
  t.match(big.trailers, { 'x-length': '3000000', 'x-got': '7' });
  t.equal(big.trailers['x-forwarded-for'], undefined);
  const many = await Promise.all(Array.from({ length: 80 }, (_, i) => ask(session, { ':path': `/${i}` })));
  t.ok(many.every(({ status, ended }) => status === 201 && ended));
  t.match(await ask(session, { ':method': 'HEAD' }), { status: 201, ended: true, body: '' });
  t.equal(await rig.web.metric('sidelock_http_upstreams'), 1);
  t.equal(await rig.orders.metric('sidelock_http_upstreams'), 1);
  t.equal(rig.sessions.size, 1);
});

t.test('Z19, Z18, resets and early answers: nothing cut looks whole', async (t) => {
  const rig = await startHttp2(t, (stream, headers) => {
    switch (headers[':path']) {
      case '/no-status':
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        return stream.end('abc');
      case '/no-status-at-all':
        return stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { endStream: true });
      case '/cut':
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.write('abc');
        return void setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), 20);
      case '/broken':
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.write('abc');
        return void setTimeout(() => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM), 20);
      case '/refused':
        return stream.close(constants.NGHTTP2_REFUSED_STREAM);
      case '/gone':
        return stream.session?.destroy();
      case '/early':
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '9' }));
        stream.end('abc');
        return;
      default:
        stream.respond({ ':status': 200 });
        stream.end('fine');
    }
  });
  const session = rig.local();
  t.match(await ask(session, { ...GRPC, ':path': '/no-status' }, { body: 'x' }), {
    body: 'abc',
    trailers: { 'grpc-status': '14' },
  });
  t.match(await ask(session, { ...GRPC, ':path': '/no-status-at-all' }, { body: 'x' }), {
    headers: { 'grpc-status': '14' },
  });
  t.match(await ask(session, { ':path': '/cut' }), { status: 200, ended: false, code: 2 });
  t.match(await ask(session, { ':path': '/broken' }), { status: 200, ended: false, code: 11 });
  t.match(await ask(session, { ':method': 'POST', ':path': '/refused' }, { body: 'x' }), {
    status: undefined,
    code: 7,
  });
  t.match(await ask(session, { ':method': 'POST', ':path': '/gone' }, { body: 'x' }), { status: 502, ended: true });
  t.match(await ask(session, { ...GRPC, ':path': '/gone' }, { body: 'x' }), {
    status: 200,
    headers: { 'grpc-status': '14' },
  });
  const early = await ask(session, { ...GRPC, ':path': '/early' }, { body: 'x', open: true });
  t.match(early, { body: 'abc', trailers: { 'grpc-status': '9' }, code: 0 }, 'an answer before the end of the request');
  t.match(await ask(session, {}), { status: 200, body: 'fine' }, 'a new connection to the app is made');
  await until(() => rig.streams.now === 0);
  t.pass('and no stream is left at the app');
});

t.test('Z17: a request that breaks off, however, is no whole request for the app', async (t) => {
  const ends: string[] = [];
  const rig = await startHttp2(t, (stream, headers) => {
    const path = String(headers[':path']);
    stream.resume();
    stream.once('close', () => ends.push(`${path} ${stream.rstCode}`));
    stream.once('aborted', () => ends.push(`${path} aborted`));
  });
  for (const [i, code] of [8, 0].entries()) {
    const client = await rawHttp2(t, rig.orders.mtls.port, rig.authority.issue('web'));
    client.head(1, [...POST.filter(([name]) => name !== ':path'), [':path', `/${code}`]], 0);
    client.data(1, 'abc');
    await until(() => rig.streams.all > i);
    client.reset(1, code);
    await until(() => rig.streams.now === 0);
    t.match(
      ends.filter((end) => end.startsWith(`/${code} `)),
      [`/${code} aborted`, `/${code} 8`],
    );
  }
});

t.test('a client that does not read holds back the app, and costs a bounded amount of memory', async (t) => {
  let written = 0;
  const rig = await startHttp2(t, (stream) => {
    stream.respond({ ':status': 200 });
    const more = () => {
      while (!stream.destroyed && stream.write(Buffer.alloc(65_536))) written += 65_536;
      written += 65_536;
    };
    stream.on('drain', more);
    more();
  });
  const session = rig.local();
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await once(stream, 'response');
  stream.pause();
  let before = -1;
  for (let still = 0; still < 20; still = written === before ? still + 1 : 0) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.ok(written < 8_000_000, `the app stopped after ${written} bytes`);
  t.match(await ask(session, { ':method': 'HEAD' }), { status: 200 }, 'others are served meanwhile');
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => rig.streams.now === 0);
});

t.test(
  'F17 memory is nearly gone: streams whose client does not read are reset, those beside them go on',
  async (t) => {
    const rig = await startHttp2(
      t,
      (stream, headers) => {
        stream.respond({ ':status': 200 });
        if (headers[':path'] !== '/large') stream.end('small');
        else stream.end(Buffer.alloc(4 << 20));
      },
      { maxMemory: process.memoryUsage().rss + (64 << 20) },
    );
    const session = rig.local();
    const stuck = session.request({ ':path': '/large' });
    stuck.on('error', () => {});
    await once(stuck, 'response');
    stuck.pause();
    const quiet = session.request({ ':method': 'POST', ':path': '/small' }, { endStream: false });
    const answered = answerOf(quiet);
    t.match(await ask(session, { ':path': '/small' }), { status: 200, body: 'small' });
    const closed = once(stuck, 'close');
    let ballast: Buffer | undefined = Buffer.alloc(process.memoryUsage().rss + (128 << 20), 1);
    await closed;
    t.not(stuck.rstCode, constants.NGHTTP2_NO_ERROR);
    await until(() => [...rig.web.events('memory_relieved'), ...rig.orders.events('memory_relieved')].length > 0);
    const requests = () => [...rig.web.events('request'), ...rig.orders.events('request')];
    await until(() => requests().some(({ path, close_reason }) => path === '/large' && close_reason === 'memory'));
    t.ok(ballast.length > 0);
    ballast = undefined;
    t.equal(session.closed, false);
    quiet.end();
    t.match(await answered, { status: 200, ended: true, body: 'small' }, 'a stream beside it');
  },
);

t.test('GOAWAY: for a drain, a new identity and new rules', async (t) => {
  const rig = await startHttp2(
    t,
    (stream, headers) => {
      if (headers[':path'] !== '/slow') stream.respond({ ':status': 200 }, { endStream: true });
      else setTimeout(() => stream.respond({ ':status': 200 }, { endStream: true }), 1_500);
    },
    { drainMs: 10_000 },
  );
  const { orders, authority } = rig;
  const first = rig.peer();
  const slow = ask(first, { ':path': '/slow' });
  t.match(await ask(first, {}), { status: 200 });
  const goaways: number[] = [];
  first.on('goaway', (code, last) => goaways.push(code, last));
  await swap(orders.directory, authority.issue('orders'));
  t.match(await slow, { status: 200, ended: true }, 'what was under way ends in order');
  await once(first, 'close');
  t.match(goaways, [0, 2 ** 31 - 1, 0], 'first a notice');

  const second = rig.peer();
  t.match(await ask(second, {}), { status: 200 });
  await orders.sidecar.setRules([{ name: 'in', allow: ['other'] }]);
  await closed(second);
  t.match(orders.events('connection_closed'), [{ reason: 'denied' }]);
  await orders.sidecar.setRules([{ name: 'in', allow: ['web'] }]);

  const third = rig.peer();
  const last = ask(third, { ':path': '/slow' });
  await ask(third, {});
  const drained = orders.sidecar.shutdown();
  t.match(await last, { status: 200, ended: true }, 'a drain waits for what is under way');
  t.equal(await drained, true);
});

t.test('an app that goes away in order, again and again, loses no request', async (t) => {
  const rig = await startHttp2(t, (stream) => {
    const { session } = stream;
    stream.respond({ ':status': 200 }, { endStream: true });
    if (rig.streams.all % 20 === 0) session?.close();
  });
  const session = rig.peer();
  let lost = 0;
  for (let round = 0; round < 15; round++) {
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(session, {})));
    lost += all.filter(({ status, ended }) => status !== 200 || !ended).length;
  }
  t.equal(lost, 0);
  t.ok(rig.streams.all >= 300);
});

t.test('F15: requests that are on their way when we go away are served', async (t) => {
  const rig = await startHttp2(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }), {
    drainMs: 10_000,
  });
  const client = await rawHttp2(t, rig.orders.mtls.port, rig.authority.issue('web'));
  client.head(1, POST);
  t.equal(await client.outcome(1), 'answered');
  const drained = rig.orders.sidecar.shutdown();
  // Sent by one who has seen the notice, as late as can be: no stream is open, and our ping is not answered yet.
  const notice = await client.until(({ type }) => type === TYPES.GOAWAY);
  t.equal(notice?.payload.toString('hex'), '7fffffff00000000');
  client.head(3, POST);
  const ping = await client.until(({ type, flags }) => type === TYPES.PING && flags === 0);
  client.send(frame(TYPES.PING, 1, 0, ping?.payload));
  await client.until(({ type, stream }) => type === TYPES.HEADERS && stream === 3);
  await client.closed;
  t.match(
    client.frames.filter(({ type }) => type === TYPES.GOAWAY),
    { length: 2 },
  );
  client.socket.destroy();
  t.equal(await drained, true);
});

t.test('F33: a connection that comes of age says so before it ends', async (t) => {
  const rig = await startHttp2(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }), {
    maxLifetimeMs: 5_000,
  });
  const session = rig.peer();
  const [code] = await once(session, 'goaway');
  t.equal(code, 0);
  await closed(session);
  const ends = 'sidelock_connections_closed_total{direction="inbound",listener="in"';
  await until(async () => (await rig.orders.metric(ends)) !== 0);
  t.equal(await rig.orders.metric(`${ends},reason="lifetime"}`), 1);
});

t.test('requests of one client go to every sidecar there is, over a connection each', async (t) => {
  const rig = await startHttp2(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }), {
    endpoints: 3,
  });
  const session = rig.local();
  for (let round = 0; round < 5; round++) {
    const all = await Promise.all(Array.from({ length: 30 }, () => ask(session, {})));
    t.ok(all.every(({ status }) => status === 200));
  }
  for (const node of [rig.orders, ...rig.others]) {
    t.ok((await node.metric('sidelock_requests_total')) > 20, 'each had its share');
    t.equal(node.sidecar.connections().length, 1);
  }
});

t.test('C83, C84: only a caller that agrees on h2 is served', async (t) => {
  const rig = await startHttp2(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  for (const offer of [['http/1.1'], undefined]) {
    const socket = connect({
      port: rig.orders.mtls.port,
      host: '127.0.0.1',
      ...rig.authority.issue('web'),
      ...(offer === undefined ? {} : { ALPNProtocols: offer }),
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => {});
    socket.resume();
    await closed(socket);
  }
  const failed = 'sidelock_handshakes_total{direction="inbound",listener="in",result="failed",reason="alpn_mismatch"}';
  t.equal(await rig.orders.metric(failed), 2);
});

/** Not `once`, which rejects when there is an error before. */
function closed(emitter: EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', () => resolve()));
}
