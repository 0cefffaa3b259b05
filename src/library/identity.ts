import { once } from 'node:events';
import { createSecureContext, type SecureContext } from 'node:tls';
import { systemClock, systemRandom } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { Readiness } from '../base/lifecycle.ts';
import { createLogger, type Logger, type LogLevel } from '../base/log.ts';
import { createMetrics, type Metrics } from '../base/metrics.ts';
import { nodeTooOld } from '../base/node-version.ts';
import { createPeerVerifier } from '../pki/peer.ts';
import { createIdentityHolder, type Identity as Held } from '../sidecar/identity.ts';
import type { IdentityOptions as SourceOptions } from '../sidecar/options.ts';
import { createRevocationHolder } from '../sidecar/revocation.ts';
import { startIdentitySource } from '../sidecar/sources/start.ts';
import { contextOptions } from '../sidecar/tls.ts';
import { type Credentials, keepCredentials } from './credentials.ts';

/** What a service is at one moment. Frozen; the private key is not in it. */
export interface IdentitySnapshot {
  /** 1 for the first identity of this process, then one more at each change. */
  readonly generation: number;
  readonly spiffeId: string;
  /** Hex. */
  readonly serial: string;
  /** PEM: the leaf, then its intermediates. */
  readonly certificate: string;
  /** PEM: the roots that peers are judged by. */
  readonly trust: string;
  /** ms since the epoch. */
  readonly notBefore: number;
  /** ms since the epoch. */
  readonly notAfter: number;
}

/** A certificate and its key, kept up to date until disposed of. */
export interface Identity extends AsyncDisposable {
  current(): IdentitySnapshot;
  /** Calls `changed` after each change. Returns the way to stop. */
  subscribe(changed: (snapshot: IdentitySnapshot) => void): () => void;
  /** Each change from now on; who reads slowly gets the newest only. Ends when `signal` aborts or the identity does. */
  changes(options?: { readonly signal?: AbortSignal }): AsyncIterable<IdentitySnapshot>;
  /** Asks the manager for a new certificate, or looks at the files, now. */
  renewNow(): Promise<void>;
}

/** `source`: `manager` enrols and renews, `files` and `bundle` follow what somebody else writes. */
export type IdentityOptions = SourceOptions & {
  /** `ai-teddy.local` unless given: peers of another are refused. */
  readonly trustDomain?: string;
  /** Where short names of services lie; `default` unless given. */
  readonly namespace?: string;
  /** Gives up waiting for the first identity. */
  readonly signal?: AbortSignal;
  /** Of JSON lines on standard error; `silent` unless given. */
  readonly logLevel?: LogLevel;
  /** In place of `logLevel`. */
  readonly log?: Logger;
  readonly metrics?: Metrics;
};

/**
 * The identity of this process, as soon as there is one: files that are not there yet, and a manager that is away, are
 * waited for.
 * @throws AbortError when `signal` aborts before there is one; SL-ENV-002
 */
export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const tooOld = nodeTooOld(process.versions.node);
  if (tooOld !== undefined) throw new SidelockError('SL-ENV-002', tooOld);
  const { trustDomain = 'ai-teddy.local', namespace = 'default', logLevel = 'silent', signal } = options;
  const { log = createLogger({ level: logLevel }), metrics = createMetrics() } = options;
  const contexts = new WeakMap<object, SecureContext>();
  const holder = createIdentityHolder({
    log,
    // What OpenSSL will not take is refused here, and the identity before it stays.
    prepare: (material) => void contexts.set(material, createSecureContext(contextOptions(material, 'TLSv1.3'))),
  });
  const revocation = createRevocationHolder();
  const end = new AbortController();
  const readiness = new Readiness();
  const source = await startIdentitySource(
    { identity: options, trustDomain, namespace },
    {
      ...{ holder, revocation, talk: { revocation }, log, metrics, readiness, signal: end.signal },
      ...{ clock: systemClock, random: systemRandom },
    },
  );
  await using undo = new AsyncDisposableStack();
  undo.use(source);
  undo.defer(() => end.abort());
  await readiness.whenReady(signal === undefined ? end.signal : AbortSignal.any([signal, end.signal]));
  const running = undo.move();
  const held = () => holder.current() as Held;
  const identity: Identity = {
    current: () => snapshotOf(held()),
    subscribe: (changed) => holder.subscribe((next) => changed(snapshotOf(next))),
    changes: ({ signal: until } = {}) =>
      changesOf(identity, until === undefined ? end.signal : AbortSignal.any([until, end.signal])),
    renewNow: () => source.renewNow(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  const verifier = createPeerVerifier();
  const credentials: Credentials = {
    current: held,
    context: () => contexts.get(held().material) as SecureContext,
    judge: (peer, purpose) =>
      verifier.verify(peer, {
        ...{ purpose, trustDomain, now: systemClock.now() },
        ...{ bundle: held().material.bundle, crl: revocation.current() },
      }),
    subscribe(changed) {
      const stops = [revocation.subscribe(changed), holder.subscribe(changed)];
      return () => {
        for (const stop of stops) stop();
      };
    },
    trustDomain,
    namespace,
  };
  keepCredentials(identity, credentials);
  return identity;
}

async function* changesOf(identity: Identity, signal: AbortSignal): AsyncGenerator<IdentitySnapshot> {
  const told = new EventTarget();
  let next: IdentitySnapshot | undefined;
  const stop = identity.subscribe((snapshot) => {
    next = snapshot;
    told.dispatchEvent(new Event('changed'));
  });
  try {
    while (!signal.aborted) {
      if (next === undefined) await once(told, 'changed', { signal }).catch(() => {});
      const found = next;
      next = undefined;
      if (found !== undefined) yield found;
    }
  } finally {
    stop();
  }
}

function snapshotOf({ generation, spiffeId, serial, notBefore, notAfter, material }: Held): IdentitySnapshot {
  return Object.freeze({
    ...{ generation, spiffeId, serial, notBefore, notAfter },
    certificate: material.certPem,
    trust: material.bundle.pem,
  });
}
