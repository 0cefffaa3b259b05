import { TLSSocket } from 'node:tls';
import { Agent, buildConnector, Dispatcher } from 'undici';
import { SidelockError } from '../base/errors.ts';
import { type Credentials, credentialsOf } from './credentials.ts';
import type { Identity } from './identity.ts';
import { type Watched, watchPeers } from './peer.ts';

export interface DispatcherOptions {
  /**
   * Who has to answer: patterns as in `allow`: a service, `namespace/service`, or a SPIFFE id. The name in the URL only
   * finds the way there.
   */
  readonly expect: string | readonly string[];
  /** For TCP and TLS together, ms; 10 s unless given. */
  readonly connectTimeoutMs?: number;
  /** Connections to one origin; 128 unless given. */
  readonly connections?: number;
}

/** For undici, and for the `fetch` of Node, whose own undici has types of another version. */
export type FetchDispatcher = Dispatcher & NonNullable<RequestInit['dispatcher']>;

/**
 * For `fetch(url, { dispatcher })` and undici: mTLS with the current certificate, to peers that are who they should be.
 * A new certificate is used from the next request on; requests in flight end on the connection they have. `http:` is
 * refused. A request to the wrong peer fails before a byte of it is sent, with a SidelockError as its cause.
 * @throws SL-CFG-003 for a pattern that is not one
 */
export function createDispatcher(identity: Identity, options: DispatcherOptions): FetchDispatcher {
  const credentials = credentialsOf(identity);
  const { expect } = options;
  const watched = watchPeers(credentials, 'server', [expect].flat());
  return new MtlsDispatcher(credentials, options, watched) as Dispatcher as FetchDispatcher;
}

class MtlsDispatcher extends Dispatcher {
  readonly #make: () => Agent;
  readonly #watched: Watched;
  readonly #unsubscribe: () => void;
  #agent: Agent;

  constructor(credentials: Credentials, options: DispatcherOptions, watched: Watched) {
    super();
    this.#watched = watched;
    this.#make = () => agentOf(credentials, options, watched);
    this.#agent = this.#make();
    this.#unsubscribe = credentials.subscribe(() => {
      const old = this.#agent;
      this.#agent = this.#make();
      void old.close();
    });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    return this.#agent.dispatch(options as Agent.DispatchOptions, handler);
  }

  override close(): Promise<void>;
  override close(done: () => void): void;
  override close(done?: () => void): Promise<void> | void {
    this.#end();
    const closed = this.#agent.close();
    if (done === undefined) return closed;
    void closed.then(done);
  }

  override destroy(error?: Error | null): Promise<void>;
  override destroy(error: Error | null, done: () => void): void;
  override destroy(done: () => void): void;
  override destroy(error?: Error | null | (() => void), done?: () => void): Promise<void> | void {
    this.#end();
    const [reason, told] = typeof error === 'function' ? [null, error] : [error ?? null, done];
    const destroyed = this.#agent.destroy(reason);
    if (told === undefined) return destroyed;
    void destroyed.then(told);
  }

  #end(): void {
    this.#unsubscribe();
    this.#watched.stop();
  }
}

/** Of one generation: the context is fixed, so that a connection never mixes two. */
function agentOf(credentials: Credentials, options: DispatcherOptions, watched: Watched): Agent {
  const { connectTimeoutMs = 10_000, connections = 128 } = options;
  const connect = buildConnector({
    secureContext: credentials.context(),
    timeout: connectTimeoutMs,
    // A resumed session shows no chain to judge.
    maxCachedSessions: 0,
    allowH2: false,
    // The SPIFFE id decides, once the chain stands; DNS names say nothing about who somebody is.
    checkServerIdentity: () => undefined,
  });
  return new Agent({
    connections,
    connect(target, done) {
      if (target.protocol !== 'https:') {
        done(plaintext(target.hostname), null);
        return;
      }
      connect(target, (error, socket) => {
        if (error !== null || !(socket instanceof TLSSocket)) {
          done(error ?? plaintext(target.hostname), null);
          return;
        }
        try {
          watched.admit(socket);
        } catch (refused) {
          socket.destroy();
          done(refused as Error, null);
          return;
        }
        done(null, socket);
      });
    },
  });
}

function plaintext(host: string): SidelockError {
  return new SidelockError('SL-TLS-002', `a call to ${host} would go out in plaintext`, {
    why: 'its URL begins with http:',
    fix: 'write https: and the mTLS port of the peer',
  });
}
