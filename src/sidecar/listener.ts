import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { formatAddress, listen } from '../base/listen.ts';
import { listenOnPath } from '../base/listen-unix.ts';
import { type HostPort, SOCKET_MODE, type UnixPath } from './options.ts';

interface ListenerOptions {
  /** As errors name it: `inbound "orders"`. */
  readonly what: string;
  readonly address: HostPort | UnixPath;
  readonly socketMode: number | undefined;
  readonly pauseOnConnect: boolean;
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
 * birth.
 * @throws SL-NET-001, SL-NET-002
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
      : await listen(server, address, what);
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

/** The error also closes the socket; who uses the socket then looks at 'close'. */
function ignore(): void {}
