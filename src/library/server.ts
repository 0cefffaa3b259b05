import type { Server, TLSSocket, TlsOptions } from 'node:tls';
import { isSidelockError, type SidelockError } from '../base/errors.ts';
import { contextOptions } from '../sidecar/tls.ts';
import { credentialsOf } from './credentials.ts';
import type { Identity } from './identity.ts';
import { type Allowed, type PeerIdentity, watchPeers } from './peer.ts';

export interface ServerSecurityOptions {
  /** Who may call. */
  readonly allow: Allowed;
  /** Told of each caller that was refused. */
  readonly onRefused?: (refused: SidelockError, socket: TLSSocket) => void;
}

export interface ServerSecurity {
  /** For the constructor of a `tls` or `https` server, or fastify's `https`. */
  readonly options: TlsOptions;
  /**
   * Keeps the certificate of that server current and judges every caller before its first byte is read. A server that was
   * made without `options` asks callers for no certificate, and so refuses all of them. Returns the way to stop.
   */
  attach(server: Server): () => void;
}

const callers = new WeakMap<object, PeerIdentity>();

/**
 * mTLS for a server of this process, without a sidecar.
 * @throws SL-CFG-003 for a pattern that is not one
 */
export function secureContextFor(identity: Identity, { allow, onRefused }: ServerSecurityOptions): ServerSecurity {
  const credentials = credentialsOf(identity);
  const current = () => contextOptions(credentials.current().material, 'TLSv1.3');
  return {
    options: { ...current(), requestCert: true, rejectUnauthorized: true },
    attach(server) {
      const watched = watchPeers(credentials, 'client', allow);
      const judge = (socket: TLSSocket) => {
        try {
          callers.set(socket, watched.admit(socket));
        } catch (error) {
          socket.destroy();
          if (!isSidelockError(error)) throw error;
          onRefused?.(error, socket);
        }
      };
      // Before whatever the server does with it.
      server.prependListener('secureConnection', judge);
      const take = () => server.setSecureContext(current());
      take();
      const unsubscribe = credentials.subscribe(take);
      const stop = () => {
        unsubscribe();
        watched.stop();
        server.off('close', stop);
      };
      server.once('close', stop);
      return stop;
    },
  };
}

/** Who called over this connection of an attached server; undefined for any other socket. */
export function callerOf(socket: object): PeerIdentity | undefined {
  return callers.get(socket);
}
