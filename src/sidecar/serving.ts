import type { AddressInfo } from 'node:net';
import type { ListenerPolicyReport, PlaintextAnswer } from '../api/wire-sidecar.ts';
import { SECOND } from '../base/clock.ts';
import { createConnections, type ShownConnection } from './connections.ts';
import type { DataPlane } from './data-plane.ts';
import { createResolver } from './endpoints/resolver.ts';
import { bindForwardProxy, FORWARD_PROXY } from './forward-proxy.ts';
import { createHandshakeBudget } from './handshake-budget.ts';
import type { IdentityReader } from './identity.ts';
import { bindInbound } from './inbound.ts';
import { createPeerJudge } from './judge.ts';
import { createLinks } from './links.ts';
import type { Listener, PortSharing } from './listener.ts';
import type { DataPlaneMetrics, Direction } from './metrics.ts';
import type { NoticesOut } from './notices-out.ts';
import { createOpenPeers } from './open-peers.ts';
import {
  DEFAULT_DNS_REFRESH,
  DEFAULT_FAILED_HANDSHAKES,
  DEFAULT_LINK_GRACE,
  type SidecarDependencies,
  type SidecarOptions,
} from './options.ts';
import { bindOutbound, createOutbound, type Outbound } from './outbound.ts';
import { createPace } from './pace.ts';
import type { ListenerMode } from './permissive.ts';
import { createPolicy, type PolicyRules } from './policy.ts';
import { reauthorise } from './reauthorise.ts';
import { createRefusals } from './refusals.ts';
import { startRelief } from './relief.ts';
import type { RevocationHolder } from './revocation.ts';
import { createSentChains } from './sent-chains.ts';
import type { TlsContexts } from './tls.ts';
import { endpointsReport } from './upstream.ts';

/** Some milliseconds of signatures, between which everything that is open has its turn; and some 40 MB of TLS states. */
const HANDSHAKES = { aTurn: 8, atOnce: 512 };

/** What the listeners need; plain values, so that another thread can be given them. */
export type ServingOptions = Omit<
  SidecarOptions,
  'service' | 'identity' | 'admin' | 'health' | 'probes' | 'workers' | 'stateDirectory'
>;

/** What of an inbound can change while it serves. Without `mode` it stays as it is. */
export type InboundRules = PolicyRules & { readonly mode?: ListenerMode };

export interface BoundListener {
  readonly name: string;
  readonly address: AddressInfo;
  /** As text. */
  readonly where: string;
}

/** What `/plaintext` says of listeners. */
export type PlaintextReport = Omit<PlaintextAnswer, 'now'>;

/** What there is to see of listeners and connections. */
export interface View {
  readonly connections: readonly ShownConnection[];
  readonly policy: readonly ListenerPolicyReport[];
  readonly plaintext: PlaintextReport;
  /** Open mTLS connections by the root that vouches for the peer. */
  readonly roots: ReadonlyMap<string, number>;
  /** The same by direction and SPIFFE id; see OpenPeers.byPeer. */
  readonly peers: ReadonlyMap<string, number>;
  readonly endpoints: ReadonlyArray<ReturnType<typeof endpointsReport>>;
}

/** The bound ports of a sidecar and all that flows through them, in this thread or in others. */
export interface Serving extends AsyncDisposable {
  readonly inbound: readonly BoundListener[];
  readonly outbound: readonly BoundListener[];
  /** The forward proxy, if there is one. */
  readonly proxy: readonly BoundListener[];
  serve(): void;
  /** Asks callers to go elsewhere, and serves them as long as they do not. */
  leave(): void;
  look<K extends keyof View>(what: K): View[K] | Promise<View[K]>;
  /** See Sidecar.setRules. */
  setRules(rules: readonly InboundRules[]): number | Promise<number>;
  /**
   * Closes the ports of one direction and lets what is open finish; what is left when `deadline` aborts is reset.
   * Resolves false when something had to be.
   */
  drain(direction: Direction, deadline: AbortSignal): Promise<boolean>;
}

export interface ServingDependencies extends Omit<SidecarDependencies, 'metrics'> {
  readonly identity: IdentityReader;
  readonly revocation: RevocationHolder;
  readonly notices: Pick<NoticesOut, 'add'>;
  readonly contexts: TlsContexts;
  readonly metrics: DataPlaneMetrics;
  readonly onScrape: (refresh: () => void) => void;
  readonly sharing: PortSharing;
}

/**
 * Binds every port in this thread. All are bound before one serves, so that a port in use stops the start and not the
 * traffic.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003, SL-CFG-003
 */
export async function openServing(options: ServingOptions, deps: ServingDependencies): Promise<LocalServing> {
  const { identity, revocation, metrics, clock, log } = deps;
  const { trustDomain, namespace, limits } = options;
  const { maxLifetimeMs, linkGraceMs: graceMs = DEFAULT_LINK_GRACE } = limits;
  const ages = { maxLifetimeMs, graceMs, random: deps.random };
  const connections = createConnections({ ...limits, ...ages }, metrics, clock);
  const refusals = createRefusals(log, clock);
  const stopping = new AbortController();
  const links = createLinks({ identity, metrics, clock, ...ages });
  deps.onScrape(() => {
    connections.report();
    links.report();
    plane.openPeers.report(metrics, clock.now());
  });
  const plane: DataPlane = {
    identity,
    contexts: deps.contexts,
    judge: createPeerJudge({
      ...{ trustDomain, clock, crl: () => revocation.current() },
      onStaleCrl: options.revocation?.onStaleCrl,
    }),
    chains: createSentChains(),
    crl: () => revocation.current(),
    connections,
    handshakeBudget: createHandshakeBudget(limits.failedHandshakesPerSecond ?? DEFAULT_FAILED_HANDSHAKES, clock),
    pace: createPace(HANDSHAKES),
    links,
    openPeers: createOpenPeers(),
    refusals,
    notices: deps.notices,
    metrics,
    limits,
    clock,
    random: deps.random,
    log,
    trustDomain,
    namespace,
    sharing: deps.sharing,
    accessLog: options.accessLog ?? 0,
    tracing: options.tracing ?? false,
    userBuffers: options.userBuffers ?? true,
    streams: options.streams ?? true,
    resolver: deps.resolver ?? createResolver(options.dns),
    dnsRefreshMs: options.dns?.refreshMs ?? DEFAULT_DNS_REFRESH,
    stopping: stopping.signal,
  };
  const rejudge = () => plane.openPeers.reauthorise(plane);
  revocation.subscribe(rejudge);
  identity.subscribe(rejudge);

  await using undo = new AsyncDisposableStack();
  undo.defer(() => stopping.abort());
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
  deps.onScrape(() => {
    for (const { endpoints } of upstreams) endpoints.report();
  });
  const listeners: Readonly<Record<Direction, readonly Bound[]>> = { inbound, outbound: [...outbound, ...proxy] };
  const sweeper = setInterval(() => {
    connections.sweep();
    links.sweep();
    plane.openPeers.sweep(refusals, clock.now());
    refusals.sweep();
    for (const { endpoints } of upstreams) endpoints.sweep();
  }, SECOND).unref();
  undo.defer(() => clearInterval(sweeper));
  undo.use(startRelief(plane));
  let leaving: NodeJS.Timeout | undefined;
  undo.defer(() => clearInterval(leaving));
  const views: { readonly [K in keyof View]: () => View[K] } = {
    connections: () => connections.list(),
    policy: () => policies.map(({ rules }) => rules.report()),
    plaintext: () => ({
      strict: inbound.flatMap(({ name, listener }) => (listener.plaintext.report() === undefined ? [name] : [])),
      permissive: inbound.flatMap(({ listener }) => listener.plaintext.report() ?? []),
    }),
    endpoints: () => upstreams.map(endpointsReport),
    roots: () => plane.openPeers.byRoot(),
    peers: () => plane.openPeers.byPeer(),
  };
  const running = undo.move();
  const named = ({ name, listener }: Bound): BoundListener => ({
    name,
    address: listener.address,
    where: listener.where,
  });
  return {
    inbound: inbound.map(named),
    outbound: outbound.map(named),
    proxy: proxy.map(named),
    serve() {
      for (const { listener } of [...inbound, ...outbound, ...proxy]) listener.serve();
    },
    leave() {
      // Again and again: a caller may come back before the network knows that we are leaving.
      leaving ??= setInterval(() => {
        links.goAway('inbound');
        connections.finishAll('inbound');
      }, SECOND).unref();
    },
    look: (what) => views[what](),
    setRules(all) {
      const byName = new Map(policies.map(({ name, rules }) => [name, rules]));
      const swaps = all.map((one) => byName.get(one.name)?.prepare(one));
      for (const swap of swaps) swap?.();
      for (const { name, listener } of inbound) {
        const mode = all.find((one) => one.name === name)?.mode;
        if (mode !== undefined) listener.plaintext.setMode(mode);
      }
      return reauthorise(byName, plane);
    },
    async drain(direction, deadline) {
      for (const { listener } of listeners[direction]) listener.close();
      links.goAway(direction);
      connections.finishAll(direction);
      if (await connections.drains[direction].wait(deadline)) return true;
      connections.resetAll(direction);
      return false;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

interface LocalServing extends Serving {
  look<K extends keyof View>(what: K): View[K];
}

/** Those with a port of their own. */
function withPort({ outbound }: ServingOptions, outbounds: readonly Outbound[]) {
  return outbounds.flatMap((to, i) => {
    const listen = outbound[i]?.listen;
    return listen === undefined ? [] : [{ name: to.name, listen, to }];
  });
}

interface Bound<L extends Listener = Listener> {
  readonly name: string;
  readonly listener: L;
}

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
