import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Test } from 'tap';
import { DAY } from '../../../src/base/clock.ts';
import { listen } from '../../../src/base/listen.ts';
import type { TestAuthority } from '../identity-files.ts';

export type Ailment = 'silent' | 'resets' | 'closes' | 'slow' | 'expired' | 'wrong identity';

interface HalfDead {
  readonly address: string;
  ails: Ailment;
  /** Connections so far. */
  readonly asked: number;
}

const SLOW_MS = 200;

/** What looks like an endpoint of orders at `port` and is not well. */
export async function startHalfDead(t: Test, authority: TestAuthority, port: number): Promise<HalfDead> {
  const sockets = new Set<Socket>();
  const tls = (service: string, ago: number) =>
    createTlsServer({
      ...authority.issue(service, { notBefore: Date.now() - 2 * DAY, notAfter: Date.now() - ago }),
      requestCert: true,
      rejectUnauthorized: false,
    })
      .on('secureConnection', (socket) => socket.on('error', () => {}))
      .on('tlsClientError', () => {});
  const expired = tls('orders', DAY);
  const stranger = tls('billing', -DAY);
  const treat: Readonly<Record<Ailment, (socket: Socket) => void>> = {
    silent: () => {},
    resets: (socket) => socket.resetAndDestroy(),
    closes: (socket) => socket.destroy(),
    slow(socket) {
      const real = connect({ port, host: '127.0.0.1' });
      for (const [from, to] of [
        [socket, real],
        [real, socket],
      ] as const) {
        from.on('error', () => {});
        from.on('data', (chunk) => setTimeout(() => to.write(chunk), SLOW_MS));
        from.once('close', () => setTimeout(() => to.destroy(), SLOW_MS));
      }
    },
    expired: (socket) => void expired.emit('connection', socket),
    'wrong identity': (socket) => void stranger.emit('connection', socket),
  };
  const server = createServer((socket) => {
    made.asked++;
    sockets.add(socket);
    socket.on('error', () => {});
    treat[made.ails](socket);
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const bound = await listen(server, { host: '127.0.0.1', port: 0 }, 'an endpoint');
  const made = { address: `127.0.0.1:${bound.port}`, ails: 'silent' as Ailment, asked: 0 };
  return made;
}

/** An address from which nothing comes back, not even that nobody is there: the queue of its listener is full. */
export async function startBlackhole(t: Test): Promise<string> {
  const script = `const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  for (let i = 0; i < 8; i++) {
    const socket = connect({ port: Number(line), host: '127.0.0.1' });
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
  }
  return `127.0.0.1:${Number(line)}`;
}
