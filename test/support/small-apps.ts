import type { Server } from 'node:http';
import type { Readable } from 'node:stream';
import { WebSocketServer } from 'ws';

/** Every message of a WebSocket comes back as it was. */
export function echoMessages(server: Server): WebSocketServer {
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
  return sockets;
}

/** Reads a body to its end and tells how many bytes it had. */
export function countBytes(body: Readable, told: (bytes: number) => void): void {
  let bytes = 0;
  body.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  body.once('end', () => told(bytes));
}
