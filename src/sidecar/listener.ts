import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { formatAddress, listen } from '../base/listen.ts';
import { listenOnPath } from '../base/listen-unix.ts';
import { type HostPort, SOCKET_MODE, type UnixPath } from './options.ts';

/**
 * Whether other threads listen on the same port. Who `claims` it is the first: the port must be free, as the flag by
 * which threads share would let any process of this user join in.
 */
export type PortSharing = 'alone' | 'claims' | 'joins';

interface ListenerOptions {
  /** As errors name it: `inbound "orders"`. */
  readonly what: string;
  readonly address: HostPort | UnixPath;
  readonly socketMode: number | undefined;
  readonly pauseOnConnect: boolean;
  readonly sharing: PortSharing;
  readonly accept: (socket: Socket) => void;
}

/** A bound TCP port that accepts nothing until `serve()`, so that all ports are bound before any serves. */
export interface Listener {
  /** Of a unix socket the path, with port 0. */
  readonly address: AddressInfo;
  /** `HOST:PORT` or `unix:PATH` */
  readonly where: string;
  serve(): void;
  /** Stops accepting. Connections that are open stay. */
  close(): void;
}

/**
 * Binds a port, or a unix socket, whose connections keep half-closes, send at once, and have an 'error' listener from
 * birth. A unix socket is never shared.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003
 */
export async function bindListener(options: ListenerOptions): Promise<Listener> {
  const { what, address, pauseOnConnect, accept } = options;
  let serving = false;
  const early: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect }, (socket) => {
    socket.on('error', ignore);
    if (serving) accept(socket);
    else early.push(socket);
  });
  // Accept errors (no descriptor left) are transient: Node goes on accepting when there is room again.
  server.on('error', ignore);
  const bound =
    'path' in address
      ? await listenOnPath(server, address.path, { mode: options.socketMode ?? SOCKET_MODE, what })
      : await listenOnPort(server, address, options);
  return {
    address: bound,
    where: 'path' in address ? `unix:${address.path}` : formatAddress({ host: bound.address, port: bound.port }),
    serve() {
      serving = true;
      for (const socket of early.splice(0)) accept(socket);
    },
    close() {
      server.close();
    },
  };
}

async function listenOnPort(server: Server, address: HostPort, { what, sharing }: ListenerOptions) {
  // The system gives port 0 to nobody else.
  if (sharing === 'claims' && address.port !== 0) {
    const trial = createServer((socket) => socket.destroy());
    await listen(trial, address, what);
    await new Promise((resolve) => trial.close(resolve));
  }
  return await listen(server, address, what, { reusePort: sharing !== 'alone' });
}

/** The error also closes the socket; who uses the socket then looks at 'close'. */
function ignore(): void {}
