import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import t from 'tap';
import { echoTarget, startHttp, unchunk } from '../support/http-rig.ts';
import { startPair } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

for (const userBuffers of [true, false]) {
  t.test(
    `bodies of every size, many at once, both ways: ${userBuffers ? 'user buffers' : 'data events'}`,
    async (t) => {
      const app = createServer((request: IncomingMessage, response) => {
        const hash = createHash('sha256');
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => {
          hash.update(chunk);
          chunks.push(chunk);
        });
        request.once('end', () => {
          response.setHeader('x-sha256', hash.digest('hex'));
          const body = Buffer.concat(chunks);
          // Of known length, or in chunks.
          if (request.url === '/length') response.setHeader('content-length', body.length);
          for (let at = 0; at < body.length; at += 40_000) response.write(body.subarray(at, at + 40_000));
          response.end();
        });
      });
      const { web } = await startPair(t, (socket) => app.emit('connection', socket), { protocol: 'http', userBuffers });
      const url = `http://127.0.0.1:${web.local.port}`;
      const sizes = [0, 1, 100, 16_383, 16_384, 16_385, 65_536, 300_000, 1 << 20, 5 << 20];
      await Promise.all(
        [...sizes, ...sizes].map(async (size, i) => {
          const body = randomBytes(size);
          const stream = new ReadableStream({
            start(controller) {
              for (let at = 0; at < size; at += 7_777) controller.enqueue(body.subarray(at, at + 7_777));
              controller.close();
            },
          });
          const path = i % 3 === 0 ? '/length' : '/chunked';
          const init = i % 2 === 0 ? { body } : { body: stream, duplex: 'half' as const };
          const response = await fetch(`${url}${path}`, { method: 'POST', ...init });
          t.equal(response.headers.get('x-sha256'), sha256(body), `${size} bytes reached the app`);
          t.equal(sha256(Buffer.from(await response.arrayBuffer())), sha256(body), `${size} bytes came back`);
        }),
      );
    },
  );
}

t.test('connections to the app are shared, and new ones only made when all are in use', async (t) => {
  const rig = await startHttp(t);
  for (let i = 0; i < 20; i++) {
    const client = await rig.outbound();
    client.send(get(`/${i}`));
    t.equal((await client.response())?.body, `/${i}`);
    client.socket.destroy();
  }
  t.equal(rig.connections.length, 1);
  t.equal(await rig.web.metric('sidelock_handshakes_total'), 1);
});

t.test('a response with Connection: close keeps its connection out of the pool', async (t) => {
  const rig = await startHttp(t, {
    answer: (request) => echoTarget(request).replace('\r\n', '\r\nconnection: close\r\n'),
  });
  const client = await rig.outbound();
  for (const path of ['/a', '/b', '/c']) {
    client.send(get(path));
    const response = await client.response();
    t.equal(response?.body, path);
    t.notMatch(response?.head, /^connection/im, 'that the app closes is nothing to the caller');
  }
  t.equal(rig.connections.length, 3);
});

t.test('a client that leaves mid-request costs its app connection, and nobody gets its answer', async (t) => {
  const held: Array<() => void> = [];
  const rig = await startHttp(t, {
    answer: (request, { socket }) => {
      if (!request.head.includes(' /slow ')) return echoTarget(request);
      held.push(() => void socket.write(echoTarget(request)));
      return undefined;
    },
  });
  for (const direction of ['inbound', 'outbound'] as const) {
    for (let i = 0; i < 20; i++) {
      const client = await rig[direction]();
      const before = held.length;
      client.send(get('/slow'));
      await until(() => held.length > before);
      if (i % 2 === 0) client.socket.destroy();
      else client.reset();
      held[before]?.();
      const other = await rig[direction]();
      other.send(get('/canary'));
      t.equal((await other.response())?.body, '/canary');
      other.socket.destroy();
    }
  }
  await until(async () => (await rig.orders.metric('sidelock_http_upstreams')) <= 1);
  t.pass('no connection leaked');
});

t.test('a client that does not read leaves nobody else waiting', async (t) => {
  const body = 'x'.repeat(8 << 20);
  const rig = await startHttp(t, {
    answer: (request) =>
      request.head.includes(' /big ')
        ? `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`
        : echoTarget(request),
  });
  const stuck = await rig.outbound();
  stuck.socket.pause();
  stuck.send(get('/big'));
  await until(() => Promise.resolve(stuck.socket.bytesRead > 0));
  // Once it is gone, its connections must not come back to the pool with reading stopped.
  stuck.socket.destroy();
  for (let i = 0; i < 5; i++) {
    const client = await rig.outbound();
    client.send(get('/canary'));
    t.equal((await client.response())?.body, '/canary');
  }
});

t.test('requests that arrive together are answered in order, one at a time', async (t) => {
  let open = 0;
  let most = 0;
  const rig = await startHttp(t, {
    answer: (request, { socket }) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        socket.write(echoTarget(request));
      }, 1);
      return undefined;
    },
  });
  const client = await rig.outbound();
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
  client.send(paths.map((path) => get(path)).join(''));
  const answers: unknown[] = [];
  for (const _ of paths) answers.push((await client.response())?.body);
  t.strictSame(answers, paths);
  t.equal(most, 1, 'X16');
});

t.test('an idle connection that the app closes, or writes to, is not used again', async (t) => {
  const rig = await startHttp(t);
  const client = await rig.inbound();
  for (const spoil of [
    (socket: Socket) => socket.end(),
    (socket: Socket) => socket.resetAndDestroy(),
    (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL'),
  ]) {
    client.send(get('/a'));
    t.equal((await client.response())?.body, '/a');
    const last = rig.connections.at(-1);
    if (last !== undefined) {
      spoil(last.socket);
      await until(async () => (await rig.orders.metric('sidelock_http_upstreams')) === 0);
    }
    client.send(get('/b'));
    t.equal((await client.response())?.body, '/b');
  }
});

t.test('a connection that dies under a request: repeated when safe, else said', async (t) => {
  const rig = await startHttp(t, {
    answer: (request, { socket, received }) => {
      if (request.head.includes(' /die ') && received.match(/ HTTP\/1\.1/g)?.length !== 1) {
        socket.resetAndDestroy();
        return undefined;
      }
      return echoTarget(request);
    },
  });
  const client = await rig.inbound();
  client.send(get('/first'));
  await client.response();
  client.send(get('/die'));
  t.equal(
    (await client.response())?.body,
    '/die',
    'GET on a reused connection, nothing received: once more on a fresh one',
  );
  client.send('POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx');
  const failed = await client.response();
  t.equal(failed?.status, 502, 'POST is not repeated');
  t.match(failed?.head, /x-sidelock-reason: closed\r\nx-sidelock-code: SL-HTTP-002\r\n/);
  t.equal(rig.received().match(/POST/g)?.length, 1);
});

t.test('Expect: the 100 of the app goes through, once, and the body is sent once', async (t) => {
  const post = 'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n';
  t.test('E1 the app says 100', async (t) => {
    const rig = await startHttp(t, {
      app: ({ socket }) => {
        socket.once('data', () => {
          socket.write('HTTP/1.1 100 Continue\r\n\r\n');
          socket.once('data', (body) =>
            socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
          );
        });
      },
    });
    const client = await rig.outbound();
    client.send(post);
    t.equal((await client.response())?.status, 100);
    client.send('body');
    t.equal((await client.response())?.body, 'body');
  });
  t.test('E1 it says nothing: after a second we do', async (t) => {
    const rig = await startHttp(t, { limits: { expectMs: 50 } });
    const client = await rig.inbound();
    client.send(post);
    t.equal((await client.response())?.status, 100);
    client.send('body');
    t.equal((await client.response())?.body, '/p');
    t.equal(rig.received().match(/body/g)?.length, 1);
  });
  t.test('E3 it refuses at once: neither leg is used again', async (t) => {
    const rig = await startHttp(t, {
      app: ({ socket }) => {
        socket.once('data', () => socket.write('HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n'));
      },
    });
    const client = await rig.outbound();
    client.send(post);
    const answer = await client.response();
    t.equal(answer?.status, 413);
    t.match(answer?.head, /^connection: close/im);
    await client.closed;
    await until(async () => (await rig.orders.metric('sidelock_http_upstreams')) === 0);
  });
});

t.test('E4 an answer before the end of the request: both go on', async (t) => {
  const rig = await startHttp(t, {
    app: (connection) => {
      connection.socket.once('data', () =>
        connection.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly'),
      );
    },
  });
  const client = await rig.inbound();
  client.send('POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody');
  t.equal((await client.response())?.body, 'early');
  client.send('rest');
  await until(() => Promise.resolve(rig.received().endsWith('bodyrest')));
  t.equal(await rig.orders.metric('sidelock_http_upstreams'), 1, 'ended in order: kept');
});

t.test('K12 a request that is cut never looks whole to the app', async (t) => {
  for (const cut of ['end', 'reset'] as const) {
    const rig = await startHttp(t);
    const client = await rig.outbound();
    client.send('POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab');
    await until(() => Promise.resolve(rig.received().endsWith('5\r\nab')));
    const [app] = rig.connections;
    if (app === undefined) throw new Error('nothing reached the app');
    const gone = new Promise((resolve) => app.socket.once('close', resolve));
    if (cut === 'end') client.socket.end();
    else client.reset();
    await gone;
    t.notMatch(app.received, '0\r\n\r\n');
  }
});

t.test('E13 a body that ends with its connection: whole after FIN, broken after RST', async (t) => {
  for (const how of ['end', 'resetAndDestroy'] as const) {
    const rig = await startHttp(t, {
      answer: (_, { socket }) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        let left = 50;
        const more = () => {
          if (left-- > 0) socket.write('x'.repeat(10_000), more);
          else setTimeout(() => socket[how](), 20);
        };
        more();
        return undefined;
      },
    });
    const client = await rig.outbound();
    client.send(get('/'));
    const response = await client.response();
    if (how === 'end') t.equal(unchunk(response?.body ?? '').length, 500_000);
    else {
      t.equal(response, undefined);
      t.notMatch(client.received().slice(-7), '0\r\n\r\n');
    }
  }
});

t.test('an HTTP/1.0 client gets what it understands', async (t) => {
  const rig = await startHttp(t, {
    answer: () => 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n',
  });
  const client = await rig.inbound();
  client.send('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
  const response = await client.response();
  t.equal(response?.body, 'abcde');
  t.notMatch(response?.head, /chunked/i);
});

t.test('limits', async (t) => {
  for (const from of ['outbound', 'inbound'] as const) {
    t.test(`X1 from ${from}, a head that never ends, a byte now and then: 408, and others are served`, async (t) => {
      const rig = await startHttp(t, { limits: { headTimeoutMs: 300 } });
      const slow = await rig[from]();
      const dripping = slow.drip(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1 << 20)}`, 10);
      const other = await rig[from]();
      other.send('GET /other HTTP/1.1\r\nHost: a\r\n\r\n');
      t.equal((await other.response())?.body, '/other');
      t.equal((await slow.response())?.status, 408);
      await slow.closed;
      await dripping;
      t.notMatch(rig.received(), 'GET / ');
    });
    t.test(`X2 from ${from}, a body that stops: 408, and the app connection is gone`, async (t) => {
      const rig = await startHttp(t, { limits: { bodyIdleMs: 300 } });
      const client = await rig[from]();
      client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx');
      t.equal((await client.response())?.status, 408);
      await until(async () => (await rig.orders.metric('sidelock_http_upstreams')) === 0);
    });
  }
  t.test('X3 a slow reader: reset, and no more than a bounded part is held', async (t) => {
    let written = 0;
    const rig = await startHttp(t, {
      limits: { bodyIdleMs: 300 },
      answer: (_, { socket }) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${1 << 30}\r\n\r\n`);
        const more = () => {
          if (socket.destroyed) return;
          written += 65_536;
          socket.write(Buffer.alloc(65_536), more);
        };
        more();
        return undefined;
      },
    });
    const client = await rig.inbound();
    client.socket.pause();
    client.send(get('/'));
    await until(async () => (await rig.orders.metric('sidelock_http_upstreams')) === 0 && written > 0);
    t.ok(written < 32 << 20, `${written} bytes`);
  });
  t.test('no answer in time: 504', async (t) => {
    const rig = await startHttp(t, { limits: { requestTimeoutMs: 300 }, answer: () => undefined });
    const client = await rig.inbound();
    client.send(get('/'));
    const response = await client.response();
    t.equal(response?.status, 504);
    t.match(response?.head, /x-sidelock-reason: timeout\r\nx-sidelock-code: SL-HTTP-003\r\n/);
  });
  t.test('X17 an idle client is let go', async (t) => {
    const rig = await startHttp(t, { limits: { keepAliveMs: 300 } });
    const client = await rig.outbound();
    client.send(get('/'));
    await client.response();
    await client.closed;
  });
});

t.test('an app that is not there: 503 from the sidecar in front of it, with a reason and a code', async (t) => {
  const rig = await startHttp(t, { answer: (_, { socket }) => void socket.destroy() as undefined });
  const client = await rig.outbound();
  client.send(get('/'));
  t.equal((await client.response())?.status, 502, 'it closed');
  const { orders, web } = await startPair(t, (socket) => socket.destroy(), { protocol: 'http' });
  await orders.sidecar.shutdown();
  const response = await fetch(`http://127.0.0.1:${web.local.port}/`);
  t.equal(response.status, 503);
  t.equal(response.headers.get('x-sidelock-reason'), 'unreachable');
  t.equal(response.headers.get('x-sidelock-code'), 'SL-UP-001');
});

t.test('metrics, access log and traces', async (t) => {
  const rig = await startHttp(t, { accessLog: 1, tracing: true });
  const client = await rig.outbound();
  client.send(get('/a?token=secret'));
  await client.response();
  client.send('BREW / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.response();
  client.send('GET / HTTP/1.1\r\n\r\n');
  await client.response();
  const series = 'sidelock_requests_total{direction="inbound",listener="in",method=';
  t.equal(await rig.orders.metric(`${series}"GET",code_class="2xx"}`), 1);
  t.equal(await rig.orders.metric(`${series}"other",code_class="2xx"}`), 1);
  t.equal(await rig.web.metric('sidelock_http_rejected_total{reason="missing_host"}'), 1);
  t.equal(await rig.web.metric('sidelock_request_duration_seconds_count'), 2);
  const [line] = rig.orders.events('request');
  t.match(line, { method: 'GET', path: '/a', status: 200, src_id: 'spiffe://ai-teddy.local/ns/default/sa/web' });
  t.notMatch(JSON.stringify(rig.orders.lines), 'secret');
  const id = rig.received().match(/x-request-id: (\S+)/)?.[1];
  t.equal(line?.['request_id'], id, 'one id on both sides and at the app');
  t.match(rig.received(), /traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r\n/);
});

t.test('a request that is broken off by us is not told as one whose client left', async (t) => {
  const rig = await startHttp(t, { accessLog: 1, answer: () => undefined });
  const [left, denied] = [await rig.outbound(), await rig.outbound()];
  left.send(get('/left'));
  denied.send(get('/denied'));
  const requests = () => rig.orders.events('request').map(({ path, close_reason: reason }) => ({ path, reason }));
  await until(() => ['/left', '/denied'].every((path) => rig.received().includes(path)));
  left.socket.destroy();
  await until(() => requests().length === 1);
  await rig.orders.sidecar.setRules([{ name: 'in', allow: ['other'] }]);
  await until(() => requests().length === 2);
  t.same(requests(), [
    { path: '/left', reason: 'client_left' },
    { path: '/denied', reason: 'denied' },
  ]);
});

t.test('a stopping sidecar lets idle clients go at once and requests finish', async (t) => {
  let answer = () => {};
  const rig = await startHttp(t, {
    answer: (request, { socket }) => {
      answer = () => void socket.write(echoTarget(request));
      return undefined;
    },
  });
  const [idle, busy] = [await rig.outbound(), await rig.outbound()];
  busy.send(get('/last'));
  await until(() => Promise.resolve(rig.received() !== ''));
  const stopped = rig.web.sidecar.shutdown();
  await idle.closed;
  idle.socket.end();
  answer();
  const response = await busy.response();
  t.equal(response?.body, '/last');
  t.match(response?.head, /^connection: close/im);
  busy.socket.end();
  t.equal(await stopped, true, 'nothing had to be reset');
});
