import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { boundBuffers } from '../../../src/sidecar/buffers.ts';
import { relay } from '../../../src/sidecar/relay.ts';
import { socketLink } from '../../../src/sidecar/socket-link.ts';
import { echo, readAll } from '../../support/mesh.ts';

/** A relay in front of `app`: what connects to `port` talks to the app through it. */
async function startRelayTo(t: Test, app: (socket: Socket) => void, userBuffers: boolean) {
  const ends: Array<Error | undefined> = [];
  let ended: () => void = () => {};
  const target = await listening(t, createServer({ allowHalfOpen: true }, app));
  const relays: Array<ReturnType<typeof relay>> = [];
  const front = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (first) => {
    const second = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    for (const socket of [first, second]) socket.on('error', () => {});
    second.once('connect', () => {
      const closed = (error: Error | undefined) => {
        ends.push(error);
        ended();
      };
      relays.push(
        relay(socketLink(first, { userBuffers }), socketLink(second, { userBuffers }), {
          caller: 'first',
          received: { value: 0 },
          sent: { value: 0 },
          closed,
        }),
      );
    });
  });
  const port = await listening(t, front);
  return {
    port,
    relays,
    dial: () => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      socket.on('error', () => {});
      return socket;
    },
    /** The first error of the next relay that ends. */
    async end() {
      if (ends.length === 0) await new Promise<void>((resolve) => (ended = resolve));
      return ends.shift();
    },
  };
}

async function listening(t: Test, server: Server): Promise<number> {
  server.on('connection', (socket) => socket.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  return address.port;
}

/** Two ends of one connection, half-closes kept. */
async function socketPair(t: Test): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const accepted = once(server, 'connection');
  const dialled = connect({ port: await listening(t, server), host: '127.0.0.1', allowHalfOpen: true });
  const [socket] = await accepted;
  return [socket, dialled];
}

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

for (const [name, userBuffers, plenty] of [
  ['on user buffers', true, Number.POSITIVE_INFINITY],
  ['on data events', false, Number.POSITIVE_INFINITY],
  ['with small buffers, as many are in use', true, 0],
] as const) {
  t.test(name, async (t) => {
    boundBuffers(plenty);
    t.teardown(() => boundBuffers(Number.POSITIVE_INFINITY));
    t.test('bodies of every size arrive unchanged in both directions, many at once', async (t) => {
      const rig = await startRelayTo(
        t,
        (socket) => {
          void readAll(socket).then((received) => socket.end(Buffer.concat([received, Buffer.from(sha256(received))])));
        },
        userBuffers,
      );
      const sizes = [0, 1, 100, 16_383, 16_384, 16_385, 65_536, 300_000, 1 << 20, 5 << 20];
      await Promise.all(
        [...sizes, ...sizes, ...sizes].map(async (size) => {
          const body = randomBytes(size);
          const socket = rig.dial();
          socket.end(body);
          const answer = await readAll(socket);
          t.equal(answer.subarray(size).toString(), sha256(body), `${size} bytes reached the app`);
          t.ok(answer.subarray(0, size).equals(body), `${size} bytes came back`);
        }),
      );
    });

    t.test('many small messages keep their order while both sides talk', async (t) => {
      const rig = await startRelayTo(t, echo, userBuffers);
      const socket = rig.dial();
      const sent: Buffer[] = [];
      const received: Buffer[] = [];
      let bytes = 0;
      socket.on('data', (d: Buffer) => {
        received.push(d);
        bytes += d.length;
        if (bytes === total) socket.end();
      });
      for (let i = 0; i < 5_000; i++) sent.push(randomBytes(1 + ((i * 7919) % 700)));
      const total = sent.reduce((sum, b) => sum + b.length, 0);
      for (const b of sent) socket.write(b);
      await once(socket, 'close');
      t.ok(Buffer.concat(received).equals(Buffer.concat(sent)));
      t.equal(await rig.end(), undefined);
    });

    t.test('a half-close is passed on while the other direction stays open', async (t) => {
      const rig = await startRelayTo(
        t,
        (socket) => {
          socket.resume();
          socket.once('end', () => socket.write('late answer', () => socket.end()));
        },
        userBuffers,
      );
      const socket = rig.dial();
      socket.end('question');
      t.equal((await readAll(socket)).toString(), 'late answer');
      t.equal(await rig.end(), undefined);
    });

    t.test('the app may end first and still receive', async (t) => {
      let received: Promise<Buffer> | undefined;
      const rig = await startRelayTo(
        t,
        (socket) => {
          received = readAll(socket);
          socket.end('hello');
        },
        userBuffers,
      );
      const socket = rig.dial();
      t.equal((await readAll(socket)).toString(), 'hello');
      const body = randomBytes(3 << 20);
      socket.end(body);
      t.equal(await rig.end(), undefined);
      t.ok((await received)?.equals(body));
    });

    t.test('a reset of either side reaches the other as an error', async (t) => {
      let accepted: (socket: Socket) => void = () => {};
      const accept = () => new Promise<Socket>((resolve) => (accepted = resolve));
      const rig = await startRelayTo(t, (socket) => accepted(socket), userBuffers);
      const first = rig.dial();
      first.write('x');
      const app = await accept();
      await once(app, 'data');
      const appError = once(app, 'error');
      first.resetAndDestroy();
      t.match(await appError, [{ code: 'ECONNRESET' }], 'caller reset');
      t.match(await rig.end(), { code: 'ECONNRESET' });

      const second = rig.dial().resume();
      const callerError = once(second, 'error');
      second.write('x');
      const again = await accept();
      await once(again, 'data');
      again.resetAndDestroy();
      t.match(await callerError, [{ code: 'ECONNRESET' }], 'app reset');
      t.match(await rig.end(), { code: 'ECONNRESET' });
    });

    t.test('a reader that never reads holds back the sender and costs bounded memory', async (t) => {
      const rig = await startRelayTo(t, (socket) => socket.pause(), userBuffers);
      const socket = rig.dial();
      await once(socket, 'connect');
      const chunk = Buffer.alloc(1 << 20);
      let accepted = 0;
      // Writes go on until the whole path is full: then no drain comes however long the loop turns.
      for (let idle = 0; idle < 200; ) {
        if (socket.writableLength === 0) {
          socket.write(chunk);
          accepted += chunk.length;
          idle = 0;
        }
        idle++;
        await new Promise((resolve) => setImmediate(resolve));
        if (accepted > 200 << 20) break;
      }
      t.ok(accepted < 64 << 20, `${accepted >> 20} MiB were taken before the path was full`);
      const [only] = rig.relays;
      t.equal(only?.takeActivity(), true);
      t.equal(only?.takeActivity(), false, 'and stands still, for the idle limit to see');
      only?.reset();
      await rig.end();
    });

    t.test('a side that had ended before the relay began ends the other', async (t) => {
      const [ended, caller] = await socketPair(t);
      const [open, app] = await socketPair(t);
      caller.end();
      ended.resume();
      await once(ended, 'end');
      const closed = new Promise<Error | undefined>((resolve) => {
        const cells = { received: { value: 0 }, sent: { value: 0 } };
        relay(socketLink(ended, { userBuffers }), socketLink(open, { userBuffers }), {
          ...cells,
          caller: 'first',
          closed: resolve,
        });
      });
      app.resume();
      await once(app, 'end');
      app.end('bye');
      t.equal((await readAll(caller)).toString(), 'bye');
      t.equal(await closed, undefined);
    });

    t.test('activity is seen once, and a relay can be reset', async (t) => {
      const rig = await startRelayTo(t, echo, userBuffers);
      const socket = rig.dial();
      socket.write('ping');
      await once(socket, 'data');
      const [only] = rig.relays;
      t.equal(only?.takeActivity(), true);
      t.equal(only?.takeActivity(), false);
      const failed = once(socket, 'error');
      only?.reset();
      t.match(await failed, [{ code: 'ECONNRESET' }]);
      await rig.end();
    });
  });
}
