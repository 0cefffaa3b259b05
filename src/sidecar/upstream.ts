import { formatAddress } from '../base/listen.ts';
import type { SpiffeId } from '../pki/names.ts';
import { clientAlpn } from './alpn.ts';
import { compileAllow, expand } from './authorize.ts';
import { type Circuit, createCircuit } from './circuit.ts';
import type { DataPlane } from './data-plane.ts';
import type { DialFailure } from './dial.ts';
import { type Discovery, followAddresses } from './endpoints/discovery.ts';
import { createEndpoint, type Endpoint, type LinkCaller, type PeerLinkFailure } from './endpoints/endpoint.ts';
import { createEndpoints, type Endpoints } from './endpoints/endpoints.ts';
import type { HandshakeReason } from './handshake.ts';
import type { Load } from './load.ts';
import type { OutboundOptions, UpstreamAddress } from './options.ts';
import type { PeerLink } from './peer-link.ts';

/** Who wants a link to any endpoint. */
export interface Caller extends Omit<LinkCaller, 'ready'> {
  /** The endpoint counts this caller as active: take one off when done. */
  readonly ready: (link: PeerLink, endpoint: Endpoint) => void;
}

/** One peer service, wherever it can be reached. */
export interface Upstream {
  readonly options: OutboundOptions;
  readonly plane: DataPlane;
  readonly endpoints: Endpoints;
  readonly discovery: Discovery;
  readonly circuit: Circuit;
  /**
   * Gives a link to the peer, which was verified. Begins with `first`, or whoever is next; who cannot be reached is
   * followed by another at once, while there is time: nothing was sent.
   */
  connect(caller: Caller, first?: Load): void;
}

/** An endpoint gets at least this long to answer a connect, ms. */
const LEAST_TIME = 250;
/** For one caller; more would multiply the load of a peer that has trouble. */
const MAX_TRIES = 5;

/** @throws SL-CFG-003 (a pattern of `expect`) */
export function createUpstream(options: OutboundOptions, plane: DataPlane): Upstream {
  const listener = options.name;
  const { clock, random, log, metrics } = plane;
  const alpn = clientAlpn(options, plane.streams);
  const check = peerCheck(options, plane);
  const endpoints = createEndpoints({
    listener,
    ejection: options.ejection,
    clock,
    random,
    log,
    metrics,
    create: (found, failed) =>
      createEndpoint({
        listener,
        found,
        alpn,
        plane,
        resumption: options.resumption === true,
        check,
        failed,
        down: (failure, address) => upstreamDown(failure, address, options, plane),
      }),
  });
  const discovery = followAddresses({
    addresses: [options.address].flat(),
    listener,
    resolver: plane.resolver,
    refreshMs: plane.dnsRefreshMs,
    clock,
    random,
    log,
    metrics,
    signal: plane.stopping,
    found: (all) => endpoints.set(all),
  });
  const { connectTimeoutMs, handshakeTimeoutMs } = plane.limits;
  const retries = metrics.connectRetries.with({ listener });

  const attempt = (endpoint: Endpoint, caller: Caller, tried: Set<Endpoint> | undefined, began: number) => {
    endpoint.active++;
    const untried = Math.max(0, endpoints.size - (tried?.size ?? 0) - 1);
    const share = (connectTimeoutMs - (performance.now() - began)) / (Math.min(untried, MAX_TRIES - 1) + 1);
    const failed = (failure: PeerLinkFailure) => {
      endpoint.active--;
      const all = (tried ?? new Set()).add(endpoint);
      const late = performance.now() - began >= connectTimeoutMs + handshakeTimeoutMs;
      const next =
        failure.stage === 'identity' || all.size >= MAX_TRIES || late || caller.left()
          ? undefined
          : endpoints.pick(all);
      if (next === undefined) {
        caller.failed(failure);
        return;
      }
      retries.value++;
      attempt(next, caller, all, began);
    };
    endpoint.connect(
      { ready: (link) => caller.ready(link, endpoint), failed, left: caller.left },
      untried === 0 ? connectTimeoutMs : Math.max(LEAST_TIME, share),
    );
  };

  /** Nothing is known yet: whoever comes waits for an answer as long as for a connection. */
  const whenKnown = (caller: Caller) => {
    const began = performance.now();
    let over = false;
    const settle = (failure: string | undefined) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      const endpoint = endpoints.pick();
      if (endpoint !== undefined) {
        attempt(endpoint, caller, undefined, began);
        return;
      }
      upstreamDown(
        { reason: 'dns', system: failure ?? 'empty' },
        [options.address].flat().map(addressText).join(', '),
        options,
        plane,
      );
      caller.failed({ stage: 'dial', code: 'SL-UP-001' });
    };
    const timer = setTimeout(() => settle('timeout'), connectTimeoutMs);
    void discovery.now().then(settle);
  };

  return {
    options,
    plane,
    endpoints,
    discovery,
    circuit: createCircuit(options, plane),
    connect(caller, first) {
      const endpoint = (first === undefined ? undefined : endpoints.find(first)) ?? endpoints.pick();
      if (endpoint === undefined) whenKnown(caller);
      else attempt(endpoint, caller, undefined, performance.now());
    },
  };
}

/** As `/endpoints` shows it. */
export function endpointsReport({ options, endpoints, discovery }: Upstream) {
  const { name, service } = options;
  return { listener: name, service, failing: discovery.failing(), endpoints: endpoints.list() };
}

/** @throws SL-CFG-003 */
function peerCheck(options: OutboundOptions, plane: DataPlane) {
  const patterns = options.expect.length === 0 ? [options.service] : options.expect;
  const expected = compileAllow(patterns, plane);
  const names = patterns.map((pattern) => expand(pattern, plane)).join(', ');
  return (id: SpiffeId): { reason: HandshakeReason; detail: string } | undefined =>
    expected(id) !== undefined
      ? undefined
      : { reason: 'peer_wrong_identity', detail: `it is ${id.uri}, expected ${names}` };
}

function addressText(address: UpstreamAddress): string {
  return 'srv' in address ? address.srv : formatAddress(address);
}

function upstreamDown(
  { reason, system }: DialFailure,
  address: string,
  options: OutboundOptions,
  plane: DataPlane,
): void {
  plane.metrics.upstreamErrors.with({ listener: options.name, reason }).value++;
  plane.refusals.warn(
    `${options.name} upstream ${reason} ${address}`,
    {
      event: 'upstream_down',
      code: 'SL-UP-001',
      reason,
      listener: options.name,
      upstream: address,
      system,
      fix: `start ${options.service}'s sidecar, or correct address of outbound "${options.name}"`,
    },
    `outbound "${options.name}": ${options.service} is not reachable at ${address} (${system})`,
  );
}
