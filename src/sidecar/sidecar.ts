import { SECOND } from '../base/clock.ts';
import { Readiness } from '../base/lifecycle.ts';
import { startAdmin, startHealth } from './admin.ts';
import type { ShownConnection } from './connections.ts';
import { watchAge } from './crl-age.ts';
import { createIdentityHolder, type Identity } from './identity.ts';
import { dataPlaneMetrics } from './metrics.ts';
import { showCrl } from './metrics-identity.ts';
import { readPath } from './node-internals.ts';
import { createNoticesIn } from './notices-in.ts';
import { createNoticesOut } from './notices-out.ts';
import { DEFAULT_ADMIN, type HostPort, type SidecarDependencies, type SidecarOptions } from './options.ts';
import { keepPlaintextRecord } from './plaintext-record.ts';
import { createRefusals } from './refusals.ts';
import { createRevocationHolder } from './revocation.ts';
import { withinProcess } from './room.ts';
import { type BoundListener, type InboundRules, openServing, type Serving } from './serving.ts';
import { startIdentitySource } from './sources/start.ts';
import { createTickets } from './tickets.ts';
import { createTlsContexts } from './tls.ts';

export interface Sidecar extends AsyncDisposable {
  readonly inbound: readonly BoundListener[];
  /** Those that have a port of their own. */
  readonly outbound: readonly BoundListener[];
  readonly forwardProxy: HostPort | undefined;
  readonly admin: HostPort | undefined;
  /** Resolves when identity, trust and listeners are there; rejects with an AbortError when stopped before. */
  readonly ready: Promise<void>;
  identity(): Identity | undefined;
  /** Those of this thread: with several workers `/connections` of the admin port has them. */
  connections(): readonly ShownConnection[];
  /**
   * Takes up new rules, and modes, for inbounds of these names, all or none, and closes open connections that the rules
   * deny. The number of those.
   * @throws SL-CFG-003 (an entry of `allow`), and nothing has changed
   */
  setRules(rules: readonly InboundRules[]): Promise<number>;
  /** Asks the identity source for something newer now; see IdentitySource.renewNow. */
  renew(): Promise<void>;
  /**
   * Drains: stops inbound and lets it finish, then outbound, which the app may need until then; what is left after
   * `limits.drainMs` is reset. Further calls wait for the same drain. Resolves false when something had to be reset.
   */
  shutdown(): Promise<boolean>;
}

/**
 * Binds every port, starts the identity source, then serves. Rejects, with nothing left open, when a port cannot be
 * bound or a pattern is wrong; a missing identity is no error: `ready` waits for it.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003, SL-CFG-003, SL-CFG-005
 */
export async function startSidecar(options: SidecarOptions, deps: SidecarDependencies): Promise<Sidecar> {
  const { clock, log } = deps;
  const { service: _s, identity: _i, admin: wantedAdmin, health: wantedHealth, probes, ...others } = options;
  const { workers = 1, stateDirectory, ...wanted } = others;
  // Each listener has a socket in each worker, and each worker some of its own.
  const limits = withinProcess(options.limits, workers * (options.inbound.length + options.outbound.length + 8));
  const plain = { ...wanted, limits };
  const { trustDomain, namespace } = options;
  const stop = new AbortController();
  const readiness = new Readiness();
  readiness.block('starting', 'ports are being bound');
  const metrics = dataPlaneMetrics(deps.metrics);
  const tickets = createTickets(clock);
  const contexts = createTlsContexts(metrics, options.minVersion ?? 'TLSv1.3', tickets);
  const holder = createIdentityHolder({ log, prepare: contexts.prepare });
  const revocation = createRevocationHolder();
  const { file, keep, onStaleCrl = 'warn' } = options.revocation ?? {};
  showCrl(deps.metrics, revocation);
  const refusals = createRefusals(log, clock);
  const noticed = createNoticesIn({ refusals, metrics, clock, trustDomain, namespace });
  const notices = createNoticesOut({ clock, random: deps.random, log });

  await using undo = new AsyncDisposableStack();
  undo.defer(() => stop.abort());
  const open = { ...deps, identity: holder, revocation, notices };
  const { onScrape } = deps.metrics;
  const local =
    workers > 1 ? undefined : await openServing(plain, { ...open, contexts, metrics, onScrape, sharing: 'alone' });
  const serving: Serving = undo.use(
    local ??
      (await (
        await import('./workers/workers.ts')
      ).startWorkers(plain, { ...open, tickets, readiness, count: workers })),
  );
  const look = async () => await serving.look('plaintext');
  const record = undo.use(await keepPlaintextRecord({ directory: stateDirectory, look, clock, log }));
  const edges = { peers: () => serving.look('peers'), plaintext: () => serving.look('plaintext') };
  const source = undo.use(
    await startIdentitySource(options, {
      holder,
      talk: {
        ...{ revocation, keep },
        serving: { notices: { in: noticed, out: notices }, peers: () => serving.look('roots'), edges },
      },
      lists: file === undefined ? undefined : { file, keep, revocation },
      clock,
      random: deps.random,
      log,
      metrics: deps.metrics,
      readiness,
      signal: stop.signal,
    }),
  );
  let drained: Promise<boolean> | undefined;
  const shutdown = () => {
    drained ??= drain(serving, readiness, options.limits.drainMs).finally(() => running.disposeAsync());
    return drained;
  };
  let leaving = false;
  const leave = () => {
    if (leaving) return;
    leaving = true;
    log.info({ event: 'leaving' }, 'callers are asked to go elsewhere');
    serving.leave();
  };
  const admin =
    wantedAdmin === false
      ? undefined
      : undo.use(
          await startAdmin({
            listen: wantedAdmin ?? DEFAULT_ADMIN,
            readiness,
            metrics: deps.metrics,
            identity: holder,
            connections: async () => [...(await serving.look('connections')), ...noticed.recent()],
            endpoints: async () => await serving.look('endpoints'),
            policy: async () => ({ trustDomain, namespace, listeners: [...(await serving.look('policy'))] }),
            plaintext: async () => ({
              now: new Date(clock.now()).toISOString(),
              ...(await record.report()),
            }),
            shutdown: () => void shutdown(),
            leave,
            renew: () => source.renewNow(),
          }),
        );
  const health =
    wantedHealth === undefined
      ? undefined
      : undo.use(await startHealth({ listen: wantedHealth, probes, readiness, metrics: deps.metrics }));
  void watchAge({ revocation, onStaleCrl, clock, log, signal: stop.signal });
  const sweeper = setInterval(() => refusals.sweep(), SECOND).unref();
  undo.defer(() => clearInterval(sweeper));
  const ready = readiness.whenReady(stop.signal);
  ready.catch(() => {});

  serving.serve();
  readiness.unblock('starting');
  log.info(
    {
      event: 'listening',
      inbound: serving.inbound.map(({ name, where }) => ({ name, address: where })),
      outbound: serving.outbound.map(({ name, where }) => ({ name, address: where })),
      forwardProxy: serving.proxy.map(({ where }) => where)[0],
      admin: admin?.url,
      health: health?.url,
      ...(workers === 1 ? {} : { workers }),
      readPath: (options.userBuffers ?? true) ? readPath() : 'data-events',
      node: process.version,
      openssl: process.versions.openssl,
    },
    'listening',
  );
  const running = undo.move();
  return {
    inbound: serving.inbound,
    outbound: serving.outbound,
    forwardProxy: serving.proxy.map(({ address: { address, port } }) => ({ host: address, port }))[0],
    admin: admin?.address,
    ready,
    identity: () => holder.current(),
    connections: () => local?.look('connections') ?? [],
    setRules: async (rules) => await serving.setRules(rules),
    renew: () => source.renewNow(),
    shutdown,
    async [Symbol.asyncDispose]() {
      await shutdown();
    },
  };
}

async function drain(serving: Serving, readiness: Readiness, drainMs: number): Promise<boolean> {
  readiness.block('draining', 'the sidecar is stopping');
  const deadline = AbortSignal.timeout(drainMs);
  const inbound = await serving.drain('inbound', deadline);
  const outbound = await serving.drain('outbound', deadline);
  return inbound && outbound;
}
