import { connect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { dns, ecKeys, subjectAltName, uri } from '../support/badcert.ts';
import { startHttp } from '../support/http-rig.ts';
import { rawHttp2 } from '../support/http2-raw.ts';
import { type Trio, testAuthority } from '../support/identity-files.ts';
import { startPair } from '../support/mesh.ts';

const PATHS = 3_000;
const STREAMS = 100;
const CALLERS = 100;
const ALLOW = [{ namespace: 'default' }, { namespace: 'shop', paths: ['/a'] }];
/** The body of every answer; no head has it. */
const MARK = '~';

t.test('thousands of paths, names and identities make no new series', async (t) => {
  const { orders, web, authority } = await startPair(t, answerAll, {
    protocol: 'http',
    allow: ALLOW,
    limits: { failedHandshakesPerSecond: 1_000 },
  });
  const stranger = testAuthority('somebody else');
  const keys = ecKeys();
  const issue = (of: typeof authority, id: string): Trio => {
    const san = subjectAltName(uri(`spiffe://ai-teddy.local/ns/${id}`), dns('web.ai-teddy.local'));
    return of.issue('web', { keys, extensions: { san } });
  };
  const { host, port } = orders.mtls;
  const peer = ({ cert, key }: Trio, servername: string) =>
    tlsConnect({ host, port, cert, key, servername, rejectUnauthorized: false }).on('error', () => {});

  const requests = async (from: number, to: number) => {
    for (const socket of [connect(web.local), peer(authority.issue('web'), 'orders')]) {
      for (let i = from; i < to; i++) {
        const method = i % 3 === 0 ? `M${i}` : 'GET';
        socket.write(
          `${method} /p${i}?q=${i} HTTP/1.1\r\nHost: h${i}.example\r\nx-request-id: r${i}\r\nx-h${i}: ${i}\r\n\r\n`,
        );
      }
      await marks(socket, to - from);
      socket.destroy();
    }
  };
  const streams = async (from: number, to: number) => {
    const client = await rawHttp2(t, port, authority.issue('web'));
    for (let i = from; i < to; i++) {
      const id = 2 * (i - from) + 1;
      const fields = [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':authority', `h${i}.example`],
        [':path', `/p${i}`],
        [`x-h${i}`, String(i)],
      ] as const;
      client.head(id, fields);
      await client.outcome(id);
    }
    client.socket.destroy();
  };
  const callers = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const known = ['default/sa/s', 'shop/sa/s', 'other/sa/s'].map((id) => issue(authority, `${id}${i}`));
      await Promise.all(
        [...known, issue(stranger, `n${i}/sa/s`)].map(async (identity) => {
          const socket = peer(identity, `sni${i}.example`);
          socket.write(`GET /n${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
          socket.resume();
          await new Promise((resolve) => socket.once('close', resolve));
        }),
      );
    }
  };
  const all = async (from: number, to: number) => {
    await requests(PATHS * from, PATHS * to);
    await streams(STREAMS * from, STREAMS * to);
    await callers(CALLERS * from, CALLERS * to);
    return [...(await orders.series()), ...(await web.series())];
  };
  const before = await all(0, 0.1);
  const after = await all(0.1, 1);
  t.strictSame(after.filter((one) => !before.includes(one)).slice(0, 5), []);
  t.comment(`${before.length} series of two sidecars`);
  t.ok((await orders.metric('sidelock_requests_total')) >= 2 * PATHS + STREAMS);
  t.ok((await orders.metric('sidelock_handshakes_total')) >= 4 * CALLERS);
  t.notMatch(after.join('\n'), /sni\d|h\d+\.example|\/p\d|spiffe/);
});

/** An app that has the same for every request without a body. */
function answerAll(socket: Socket): void {
  let rest = '';
  socket.on('data', (chunk) => {
    const heads = `${rest}${chunk}`.split('\r\n\r\n');
    rest = heads.pop() ?? '';
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${MARK}`.repeat(heads.length));
  });
  socket.once('end', () => socket.end());
}

/** Resolves when so many answers came. */
function marks(socket: Socket, count: number): Promise<void> {
  let seen = 0;
  return new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error(`closed after ${seen} answers`)));
    socket.on('data', (chunk) => {
      seen += String(chunk).split(MARK).length - 1;
      if (seen === count) resolve();
    });
  });
}

t.test('a trace of the caller passes as it is, and one that is begun is the same on both sides', async (t) => {
  const rig = await startHttp(t, { tracing: true });
  const client = await rig.outbound();
  const traceparent = `00-${'4b'.repeat(16)}-${'f0'.repeat(8)}-01`;
  const carried = `traceparent: ${traceparent}\r\ntracestate: a=1,b=2\r\ntracestate: c=3\r\n`;
  client.send(`GET /a HTTP/1.1\r\nHost: a\r\n${carried}\r\n`);
  t.equal((await client.response())?.status, 200);
  t.match(rig.received(), carried);
  client.send('GET /b HTTP/1.1\r\nHost: a\r\n\r\n');
  t.equal((await client.response())?.status, 200);
  const second = rig.received().slice(rig.received().indexOf('GET /b'));
  t.equal(second.match(/^traceparent: 00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00\r$/gm)?.length, 1);
});
