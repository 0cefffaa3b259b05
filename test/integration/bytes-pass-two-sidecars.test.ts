import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { echo, readAll, startPair } from '../support/mesh.ts';

const BODY = 10 << 20;
/**
 * `npm run soak:bodies` carries 200 at once. Their bytes fill what a kernel with few GiB allows TCP (`tcp_mem`): it then
 * drops segments and goes on by retransmission, minutes long. A quarter shows the same.
 */
const CONCURRENT = process.env['SIDELOCK_SOAK'] === '1' ? { streams: 200, own: 50 } : { streams: 50, own: 15 };

for (const [userBuffers, streams] of [
  [true, true],
  [false, true],
  [true, false],
  [false, false],
] as const) {
  const options = { userBuffers, streams };
  const how = `${userBuffers ? 'on user buffers' : 'on data events'}, ${streams ? 'in streams' : 'without streams'}`;
  t.test(how, async (t) => {
    t.test('a call passes, with both identities on record', async (t) => {
      const { web, orders } = await startPair(t, echo, options);
      const socket = connect({ ...web.local, allowHalfOpen: true });
      socket.write('hello');
      const [answer] = await once(socket, 'data');
      t.equal(String(answer), 'hello');
      t.match(web.sidecar.connections(), [
        {
          direction: 'outbound',
          kind: streams ? 'shared' : 'own',
          peer: { id: 'spiffe://ai-teddy.local/ns/default/sa/orders' },
          self: { id: 'spiffe://ai-teddy.local/ns/default/sa/web', generation: 1 },
          tls: { version: 'TLSv1.3', group: 'X25519MLKEM768' },
          received: 5,
          sent: 5,
        },
      ]);
      t.match(orders.sidecar.connections(), [
        { direction: 'inbound', peer: { id: 'spiffe://ai-teddy.local/ns/default/sa/web' }, received: 5, sent: 5 },
      ]);
      t.equal(await web.metric('sidelock_connections{direction="outbound"'), 1);
      const closed = once(socket, 'close');
      socket.end();
      socket.resume();
      await closed;
    });

    t.test('half-close: the answer comes after the question has ended', async (t) => {
      const { web } = await startPair(
        t,
        (socket) => {
          void readAll(socket).then((question) => socket.end(`answer to ${question}`));
        },
        options,
      );
      const socket = connect({ ...web.local, allowHalfOpen: true });
      socket.end('question');
      t.equal(String(await readAll(socket)), 'answer to question');
    });

    t.test('a server that speaks first is heard before the client says anything', async (t) => {
      const { web } = await startPair(t, (socket) => socket.end('220 ready'), options);
      const socket = connect({ ...web.local, allowHalfOpen: true });
      t.equal(String(await readAll(socket)), '220 ready');
      socket.end();
    });

    t.test('a reset of the app reaches the caller as a reset', async (t) => {
      const { web } = await startPair(t, (socket) => socket.once('data', () => socket.resetAndDestroy()), options);
      const socket = connect(web.local);
      socket.write('x');
      t.match(await once(socket.resume(), 'error'), [{ code: 'ECONNRESET' }]);
    });
  });
}

for (const streams of [true, false]) {
  const how = streams ? 'in streams' : 'without streams';
  const count = streams ? CONCURRENT.streams : CONCURRENT.own;
  t.test(`${count} bodies of ${BODY >> 20} MiB at once arrive byte for byte both ways, ${how}`, (t) =>
    bodiesPass(t, count, streams),
  );
}

async function bodiesPass(t: Test, count: number, streams: boolean): Promise<void> {
  const bodies = Array.from({ length: 7 }, () => randomFillSync(Buffer.allocUnsafeSlow(BODY)));
  const bodyOf = (i: number) => bodies[i % bodies.length] ?? Buffer.alloc(0);
  const arrived: Array<Promise<boolean>> = [];
  // The first byte says which body comes; comparing costs less than hashing and proves more.
  const { web } = await startPair(
    t,
    (socket) => {
      socket.once('readable', () => {
        const body = bodyOf(socket.read(1)[0]);
        const check = compareWith(socket, body);
        arrived.push(once(socket, 'end').then(() => check.same()));
        socket.end(body);
      });
    },
    { streams },
  );
  const returned = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const socket = connect({ ...web.local, allowHalfOpen: true });
      const check = compareWith(socket, bodyOf(i));
      socket.write(Buffer.from([i % bodies.length]));
      socket.end(bodyOf(i));
      await once(socket, 'end');
      return check.same();
    }),
  );
  t.equal(returned.filter(Boolean).length, count, 'all came back unchanged');
  // An answer may be complete before its question is.
  t.equal((await Promise.all(arrived)).filter(Boolean).length, count, 'all reached the app unchanged');
}

/** Compares what arrives with `body`, piece by piece. */
function compareWith(socket: Socket, body: Buffer) {
  let at = 0;
  let equal = true;
  socket.on('data', (chunk: Buffer) => {
    equal &&= chunk.equals(body.subarray(at, at + chunk.length));
    at += chunk.length;
  });
  return { same: () => equal && at === body.length };
}
