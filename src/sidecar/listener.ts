import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { listen } from '../base/listen.ts';
import type { HostPort } from './options.ts';

interface ListenerOptions {
  /** As errors name it: `inbound "orders"`. */
  readonly what: string;
  readonly address: HostPort;
  readonly pauseOnConnect: boolean;
  readonly accept: (socket: Socket) => void;
}

/** A bound TCP port that accepts nothing until `serve()`, so that all ports are bound before any serves. */
export interface Listener {
  readonly address: AddressInfo;
  serve(): void;
  /** Stops accepting. Connections that are open stay. */
  close(): void;
}

/**
 * Binds a port whose sockets keep half-closes, send at once, and have an 'error' listener from birth.
 * @throws SL-NET-001, SL-NET-002
 */
export async function bindListener({ what, address, pauseOnConnect, accept }: ListenerOptions): Promise<Listener> {
  let serving = false;
  const early: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect }, (socket) => {
    socket.on('error', ignore);
    if (serving) accept(socket);
    else early.push(socket);
  });
  // Accept errors (no descriptor left) are transient: Node goes on accepting when there is room again.
  server.on('error', ignore);
  const bound = await listen(server, address, what);
  return {
    address: bound,
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
