import { once } from 'node:events';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { listen } from '../../../src/base/listen.ts';
import { socketLink } from '../../../src/sidecar/socket-link.ts';
import { testAuthority } from '../../support/identity-files.ts';

const user = (closed: () => void) => ({
  space: () => Buffer.alloc(1024),
  filled: () => true,
  ended() {},
  written() {},
  closed,
});

/** The functions by which Node hands over bytes and asks for memory. */
function readersOf(socket: Socket): unknown[] {
  const own = socket as unknown as Record<symbol, unknown>;
  const named = Object.getOwnPropertySymbols(socket).filter((s) => /^kBuffer(Cb|Gen)$/.test(s.description ?? ''));
  return named.map((symbol) => own[symbol]);
}

for (const tls of [false, true]) {
  t.test(`a reset that comes while the end is on its way closes the ${tls ? 'TLS' : 'plain'} socket`, async (t) => {
    const { cert, key } = testAuthority().issue();
    const accept = (socket: Socket) => void socket.on('error', () => {}).resume();
    const server = tls
      ? createTlsServer({ cert, key, allowHalfOpen: true }, accept)
      : createServer({ allowHalfOpen: true }, accept);
    t.teardown(() => server.close());
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 }, 'the test');
    const socket = tls
      ? tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true } as { port: number })
      : netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    await once(socket, tls ? 'secureConnect' : 'connect');
    const listeners = () => ['error', 'end'].map((name) => socket.listenerCount(name));
    const before = listeners();
    const closed = new Promise<void>((resolve) => {
      const link = socketLink(socket);
      link.open(user(resolve));
      link.end();
      link.reset();
    });
    await closed;
    t.equal(socket.destroyed, true);
    t.same(listeners(), before, 'nothing of the link stays with the socket');
    t.same(readersOf(socket), [undefined, undefined]);
  });
}
