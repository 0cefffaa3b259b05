import type { AddressInfo } from 'node:net';
import { SECOND } from '../base/clock.ts';
import { Readiness } from '../base/lifecycle.ts';
import { startAdmin, startHealth } from './admin.ts';
import { type Connections, createConnections } from './connections.ts';
import type { DataPlane } from './data-plane.ts';
import { createResolver } from './endpoints/resolver.ts';
import { bindForwardProxy, FORWARD_PROXY } from './forward-proxy.ts';
import { createIdentityHolder, type Identity } from './identity.ts';
import { bindInbound } from './inbound.ts';
import { createPeerJudge } from './judge.ts';
import { createLinks, type Links } from './links.ts';
import type { Listener } from './listener.ts';
import { dataPlaneMetrics } from './metrics.ts';
import { readPath } from './node-internals.ts';
import { createNoticesIn } from './notices-in.ts';
import { createNoticesOut } from './notices-out.ts';
import { createOpenPeers } from './open-peers.ts';
import {
  DEFAULT_ADMIN,
  DEFAULT_DNS_REFRESH,
  DEFAULT_LINK_GRACE,
  type HostPort,
  type SidecarDependencies,
  type SidecarOptions,
} from './options.ts';
import { bindOutbound, createOutbound, type Outbound } from './outbound.ts';
import { createPolicy, type PolicyRules } from './policy.ts';
import { reauthorise } from './reauthorise.ts';
import { createRefusals } from './refusals.ts';
import { createRevocationHolder } from './revocation.ts';
import { startIdentitySource } from './sources/start.ts';
import { createTlsContexts } from './tls.ts';
import { endpointsReport } from './upstream.ts';

interface BoundListener {
  readonly name: string;
  readonly address: AddressInfo;
}

export interface Sidecar extends AsyncDisposable {
  readonly inbound: readonly BoundListener[];
  /** Those that have a port of their own. */
  readonly outbound: readonly BoundListener[];
  readonly forwardProxy: HostPort | undefined;
  readonly admin: HostPort | undefined;
  /** Resolves when identity, trust and listeners are there; rejects with an AbortError when stopped before. */
  readonly ready: Promise<void>;
  identity(): Identity | undefined;
  connections(): ReturnType<Connections['list']>;
  /**
   * Takes up new rules for inbounds of these names, all or none, and closes open connections that they deny. The number of
   * those.
   * @throws SL-CFG-003 (an entry of `allow`), and nothing has changed
   */
  setPolicies(rules: readonly PolicyRules[]): number;
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
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003, SL-CFG-005
 */
export async function startSidecar(options: SidecarOptions, deps: SidecarDependencies): Promise<Sidecar> {
  const { clock, log } = deps;
  const stop = new AbortController();
  const readiness = new Readiness();
  readiness.block('starting', 'ports are being bound');
  const metrics = dataPlaneMetrics(deps.metrics);
  const contexts = createTlsContexts(metrics, options.minVersion ?? 'TLSv1.3');
  const holder = createIdentityHolder({ log, prepare: contexts.prepare });
  const connections = createConnections(options.limits, metrics, clock);
  const revocation = createRevocationHolder();
  const refusals = createRefusals(log, clock);
  const { trustDomain, namespace, limits } = options;
  const noticed = createNoticesIn({ refusals, metrics, clock, trustDomain, namespace });
  const notices = createNoticesOut({ clock, random: deps.random, log });
  const links = createLinks({ identity: holder, metrics, clock, graceMs: limits.linkGraceMs ?? DEFAULT_LINK_GRACE });
  deps.metrics.onScrape(() => {
    connections.report();
    links.report();
    plane.openPeers.report(metrics, clock.now());
  });
  const plane: DataPlane = {
    identity: holder,
    contexts,
    judge: createPeerJudge(trustDomain, clock, () => revocation.current()),
    connections,
    links,
    openPeers: createOpenPeers(),
    refusals,
    notices,
    metrics,
    limits,
    clock,
    random: deps.random,
    log,
    trustDomain,
    namespace,
    accessLog: options.accessLog ?? 0,
    tracing: options.tracing ?? false,
    userBuffers: options.userBuffers ?? true,
    streams: options.streams ?? true,
    resolver: deps.resolver ?? createResolver(options.dns?.servers),
    dnsRefreshMs: options.dns?.refreshMs ?? DEFAULT_DNS_REFRESH,
    stopping: stop.signal,
  };

  const rejudge = () => plane.openPeers.reauthorise(plane);
  revocation.subscribe(rejudge);
  holder.subscribe(rejudge);

  await using undo = new AsyncDisposableStack();
  undo.defer(() => stop.abort());
  undo.defer(() => links.stopAll());
  const policies = options.inbound.map((one) => ({ ...one, rules: createPolicy(one, plane) }));
  const inbound = await bindAll(policies, (one) => bindInbound(one, one.rules, plane), undo);
  const proxied = options.forwardProxy;
  const outbounds = await Promise.all(options.outbound.map((one) => createOutbound(one, plane, proxied !== undefined)));
  const outbound = await bindAll(withPort(options, outbounds), (one) => bindOutbound(one.to, one.listen, plane), undo);
  const proxy = await bindAll(
    proxied === undefined ? [] : [{ name: FORWARD_PROXY, listen: proxied }],
    ({ listen }) => bindForwardProxy(listen, outbounds, plane),
    undo,
  );
  const upstreams = outbounds.map(({ upstream }) => upstream);
  deps.metrics.onScrape(() => {
    for (const { endpoints } of upstreams) endpoints.report();
  });
  const source = undo.use(
    await startIdentitySource(options, {
      holder,
      talk: { revocation, notices: { in: noticed, out: notices }, peers: () => plane.openPeers.byRoot() },
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
    drained ??= drain({
      inbound,
      outbound: [...outbound, ...proxy],
      connections,
      links,
      readiness,
      drainMs: limits.drainMs,
    }).finally(() => running.disposeAsync());
    return drained;
  };
  /** Again and again: a caller may come back before the network knows that we are leaving. */
  const leave = () => {
    if (leaving !== undefined) return;
    log.info({ event: 'leaving' }, 'callers are asked to go elsewhere');
    leaving = setInterval(() => {
      links.goAway('inbound');
      connections.finishAll('inbound');
    }, SECOND).unref();
  };
  let leaving: NodeJS.Timeout | undefined;
  undo.defer(() => clearInterval(leaving));
  const admin =
    options.admin === false
      ? undefined
      : undo.use(
          await startAdmin({
            listen: options.admin ?? DEFAULT_ADMIN,
            readiness,
            metrics: deps.metrics,
            identity: holder,
            connections: () => [...connections.list(), ...noticed.recent()],
            policy: () => ({ trustDomain, namespace, listeners: policies.map(({ rules }) => rules.report()) }),
            plaintext: () => ({
              now: new Date(clock.now()).toISOString(),
              strict: inbound.flatMap(({ name, listener }) => (listener.permissive === undefined ? [name] : [])),
              permissive: inbound.flatMap(({ listener }) => listener.permissive?.report() ?? []),
            }),
            endpoints: () => upstreams.map(endpointsReport),
            shutdown: () => void shutdown(),
            leave,
            renew: () => source.renewNow(),
          }),
        );
  const health =
    options.health === undefined
      ? undefined
      : undo.use(
          await startHealth({ listen: options.health, probes: options.probes, readiness, metrics: deps.metrics }),
        );
  const sweeper = setInterval(() => {
    connections.sweep();
    links.sweep();
    refusals.sweep();
    for (const { endpoints } of upstreams) endpoints.sweep();
  }, SECOND).unref();
  undo.defer(() => clearInterval(sweeper));
  const ready = readiness.whenReady(stop.signal);
  ready.catch(() => {});

  for (const { listener } of [...inbound, ...outbound, ...proxy]) listener.serve();
  readiness.unblock('starting');
  log.info(
    {
      event: 'listening',
      inbound: inbound.map(({ name, listener }) => ({ name, address: listener.where })),
      outbound: outbound.map(({ name, listener }) => ({ name, address: listener.where })),
      forwardProxy: proxy.map(({ listener }) => listener.where)[0],
      admin: admin?.url,
      health: health?.url,
      readPath: plane.userBuffers ? readPath() : 'data-events',
      node: process.version,
      openssl: process.versions.openssl,
    },
    'listening',
  );
  const running = undo.move();
  const named = ({ name, listener }: Bound): BoundListener => ({ name, address: listener.address });
  return {
    inbound: inbound.map(named),
    outbound: outbound.map(named),
    forwardProxy: proxy.map(({ listener: { address } }) => ({ host: address.address, port: address.port }))[0],
    admin: admin?.address,
    ready,
    identity: () => holder.current(),
    connections: () => connections.list(),
    setPolicies(all) {
      const byName = new Map(policies.map(({ name, rules }) => [name, rules]));
      const swaps = all.map((one) => byName.get(one.name)?.prepare(one));
      for (const swap of swaps) swap?.();
      return reauthorise(byName, plane);
    },
    renew: () => source.renewNow(),
    shutdown,
    async [Symbol.asyncDispose]() {
      await shutdown();
    },
  };
}

/** Those with a port of their own. */
function withPort({ outbound }: SidecarOptions, outbounds: readonly Outbound[]) {
  return outbounds.flatMap((to, i) => {
    const listen = outbound[i]?.listen;
    return listen === undefined ? [] : [{ name: to.name, listen, to }];
  });
}

interface Bound<L extends Listener = Listener> {
  readonly name: string;
  readonly listener: L;
}

/** All ports are bound before one serves, so that a port in use stops the start and not the traffic. */
async function bindAll<O extends { readonly name: string }, L extends Listener>(
  all: readonly O[],
  bind: (one: O) => Promise<L>,
  undo: AsyncDisposableStack,
): Promise<Array<Bound<L>>> {
  const bound: Array<Bound<L>> = [];
  for (const one of all) {
    const listener = await bind(one);
    undo.defer(() => listener.close());
    bound.push({ name: one.name, listener });
  }
  return bound;
}

interface Draining {
  readonly inbound: readonly Bound[];
  readonly outbound: readonly Bound[];
  readonly connections: Connections;
  readonly links: Links;
  readonly readiness: Readiness;
  readonly drainMs: number;
}

async function drain({ inbound, outbound, connections, links, readiness, drainMs }: Draining): Promise<boolean> {
  readiness.block('draining', 'the sidecar is stopping');
  const deadline = AbortSignal.timeout(drainMs);
  let clean = true;
  for (const [direction, listeners] of [
    ['inbound', inbound],
    ['outbound', outbound],
  ] as const) {
    for (const { listener } of listeners) listener.close();
    links.goAway(direction);
    connections.finishAll(direction);
    if (await connections.drains[direction].wait(deadline)) continue;
    clean = false;
    connections.resetAll(direction);
  }
  return clean;
}
