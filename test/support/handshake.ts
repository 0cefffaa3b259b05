import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { nodeCode } from '../../src/base/errors.ts';

/** PEM texts. */
export interface Credentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

interface Side {
  /** `ok`, or the code of what stopped this side. */
  readonly result: string;
  readonly peerNames?: string | undefined;
  readonly protocol?: string | null;
}

/** A mutual TLS 1.3 handshake between Node and Node, judged by OpenSSL alone; names are not compared. */
export async function mutualHandshake(
  server: Credentials,
  client: Credentials,
): Promise<{ server: Side; client: Side }> {
  await using listener = await listen(server);
  const socket = connect({ ...client, port: listener.port, host: '127.0.0.1', checkServerIdentity: () => undefined });
  const [accepted, seen] = await Promise.all([listener.outcome, clientOutcome(socket)]);
  return { server: accepted, client: seen };
}

/** A server for one connection, which says `hello` to a client that it accepts. */
export async function listen(credentials: Credentials) {
  const server = createServer({ ...credentials, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' });
  const { promise: outcome, resolve } = Promise.withResolvers<Side>();
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    resolve(sideOf(socket));
    socket.end('hello\n');
  });
  server.on('tlsClientError', (error, socket) => {
    resolve({ result: String(socket.authorizationError ?? nodeCode(error) ?? error.message) });
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, outcome, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** TLS 1.3 tells a client nothing about its certificate, so only the word of the server means success. */
function clientOutcome(socket: TLSSocket): Promise<Side> {
  const { promise, resolve } = Promise.withResolvers<Side>();
  let side: Side | undefined;
  socket.on('secureConnect', () => {
    side = sideOf(socket);
  });
  socket.on('data', () => resolve(side ?? { result: 'data before secureConnect' }));
  socket.on('error', (error) => resolve({ result: nodeCode(error) ?? error.message }));
  socket.on('close', () => resolve({ result: 'closed' }));
  return promise;
}

function sideOf(socket: TLSSocket): Side {
  return {
    result: 'ok',
    peerNames: socket.getPeerX509Certificate()?.subjectAltName,
    protocol: socket.getProtocol(),
  };
}
