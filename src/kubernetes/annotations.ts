import { DOMAIN, FIRST_UPSTREAM_PORT, isObject, type Json } from './names.ts';
import { Refusal } from './refusal.ts';

interface Inbound {
  readonly listen: number;
  readonly target: number;
}

export interface Upstream {
  /** Loopback address where the app finds it. */
  readonly at: string;
  readonly listen: number;
  readonly host: string;
  readonly port: number;
  /** `SERVICE` or `NAMESPACE/SERVICE` */
  readonly service: string;
  /** In logs and metrics; the service unless given. */
  readonly name?: string;
  /** What its variables begin with: `ORDERS`; empty where it has none. */
  readonly variable: string;
}

const PROTOCOLS = ['tcp', 'http', 'http2'] as const;

/** What the annotations of a pod ask for. */
export interface Wanted {
  readonly service: string | undefined;
  readonly inbound: readonly Inbound[];
  readonly upstreams: readonly Upstream[];
  /** The app calls the names of its upstreams, and finds them at the sidecar. */
  readonly hostAliases: boolean;
  readonly allow: 'any' | readonly string[];
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly mode: 'strict' | 'permissive';
  /** Probes of ports behind the sidecar are answered by it. */
  readonly rewriteProbes: boolean;
  readonly logLevel: string | undefined;
  readonly image: string | undefined;
  /** Quantities by `cpu-request`, `cpu-limit`, `memory-request`, `memory-limit`. */
  readonly resources: ReadonlyMap<ResourceKey, string>;
}

const RESOURCE_KEYS = ['cpu-request', 'cpu-limit', 'memory-request', 'memory-limit'] as const;
type ResourceKey = (typeof RESOURCE_KEYS)[number];

const KEYS = [
  'service',
  'inbound',
  'upstreams',
  'host-aliases',
  'allow',
  'protocol',
  'mode',
  'rewrite-probes',
  'log-level',
  'image',
  ...RESOURCE_KEYS,
] as const;
type Key = (typeof KEYS)[number];

/** Written by injection itself. */
export const STATUS = `${DOMAIN}/status`;

/** True when a pod has at least one annotation that is for us to read. */
export function isAsked(annotations: unknown): boolean {
  return ours(annotations).length > 0;
}

/**
 * Reads the annotations under our domain. One that is unknown or misspelt is refused, since a rule that is silently off
 * is worse than a pod without sidecar.
 * @throws Refusal `invalid-annotation`
 */
export function readAnnotations(annotations: unknown): Wanted {
  const given = new Map<Key, string>();
  for (const [key, value] of ours(annotations)) {
    const known = KEYS.find((name) => name === key);
    if (known === undefined) throw invalid(key, 'there is no such annotation', `one of ${KEYS.join(', ')}`);
    if (typeof value !== 'string') throw invalid(key, 'it is not text', 'put the value in quotes');
    given.set(known, value.trim());
  }
  const protocol = one(given, 'protocol', /^(?:tcp|http|http2)$/, 'tcp, http or http2');
  const inbound = items(given.get('inbound')).map(readInbound);
  const hostAliases = one(given, 'host-aliases', /^(?:true|false)$/, '"true" or "false"') === 'true';
  const read = items(given.get('upstreams')).map((text, at) => readUpstream(text, at, hostAliases));
  const upstreams = hostAliases ? read.map((upstream) => ({ ...upstream, variable: '' })) : nameUpstreams(read);
  if (hostAliases && upstreams.length === 0) {
    throw invalid('host-aliases', 'there are no upstreams', 'name them in upstreams, or take it away');
  }
  return {
    service: one(given, 'service', LABEL, 'a DNS label: a-z, 0-9 and -'),
    inbound,
    upstreams,
    hostAliases,
    allow: readAllow(given.get('allow'), inbound.length > 0),
    protocol: PROTOCOLS.find((name) => name === protocol) ?? 'tcp',
    mode:
      one(given, 'mode', /^(?:strict|permissive)$/, 'strict or permissive') === 'permissive' ? 'permissive' : 'strict',
    rewriteProbes: one(given, 'rewrite-probes', /^(?:true|false)$/, '"true" or "false"') !== 'false',
    logLevel: one(given, 'log-level', /^(?:trace|debug|info|warn|error|silent)$/, 'trace, debug, info, warn or error'),
    image: one(given, 'image', /^[^\s]{1,500}$/, 'the name of an image'),
    resources: new Map(
      RESOURCE_KEYS.flatMap((key) => {
        const value = one(given, key, QUANTITY, 'a quantity: 100m, 64Mi');
        return value === undefined ? [] : [[key, value] as const];
      }),
    ),
  };
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const HOST = /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*$/;
const CALLER =
  /^(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\/(?:\*|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?))?|spiffe:\/\/[\w.-]+(?:\/[\w.-]+)*(?:\/[\w.-]+|\/\*))$/;
const QUANTITY = /^\d{1,9}(?:\.\d{1,3})?(?:m|k|M|G|Ki|Mi|Gi)?$/;

function ours(annotations: unknown): Array<[string, unknown]> {
  if (!isObject(annotations)) return [];
  return Object.entries(annotations as Json)
    .filter(([key]) => key.startsWith(`${DOMAIN}/`) && key !== STATUS)
    .map(([key, value]) => [key.slice(DOMAIN.length + 1), value]);
}

function items(value: string | undefined): string[] {
  return (value ?? '')
    .split(/[,\n]/)
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function one(given: ReadonlyMap<Key, string>, key: Key, pattern: RegExp, expected: string): string | undefined {
  const value = given.get(key);
  if (value === undefined || pattern.test(value)) return value;
  throw invalid(key, `${JSON.stringify(value)} is not ${expected}`, `write ${expected}`);
}

function readInbound(text: string): Inbound {
  const [, listen = '', target = ''] = /^(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  const ports = { listen: portOf(listen), target: portOf(target) };
  if (ports.listen === undefined || ports.target === undefined || ports.listen === ports.target) {
    const why = `${JSON.stringify(text)} is not LISTEN:TARGET with two different ports`;
    throw invalid('inbound', why, 'write "8443:8080": peers connect to the first, the app listens on the second');
  }
  return { listen: ports.listen, target: ports.target };
}

function readUpstream(text: string, index: number, asNamed: boolean): Omit<Upstream, 'variable'> {
  const [, own, host = '', remote = '', service = ''] = /^(?:(\d{1,5}):)?([^:=]+):(\d{1,5})=([^=]+)$/.exec(text) ?? [];
  const port = portOf(remote);
  const unlessGiven = asNamed ? port : FIRST_UPSTREAM_PORT + index;
  const listen = own === undefined ? unlessGiven : portOf(own);
  const parts = service.split('/');
  const named = parts.length <= 2 && parts.every((part) => LABEL.test(part));
  if (listen === undefined || port === undefined || !named || !HOST.test(host)) {
    const why = `${JSON.stringify(text)} is not [PORT:]HOST:PORT=SERVICE`;
    throw invalid('upstreams', why, 'write "orders.shop:80=shop/orders", or "9101:orders.shop:80=shop/orders"');
  }
  return { at: '127.0.0.1', listen, host, port, service };
}

/** Variables are called after the service, and after its namespace too where two services have one name. */
function nameUpstreams(all: ReadonlyArray<Omit<Upstream, 'variable'>>): Upstream[] {
  const short = ({ service }: { readonly service: string }) => service.slice(service.lastIndexOf('/') + 1);
  const count = Map.groupBy(all, short);
  const named = all.map((upstream) => {
    const name = count.get(short(upstream))?.length === 1 ? short(upstream) : upstream.service;
    return { ...upstream, variable: name.toUpperCase().replaceAll(/[-/]/g, '_') };
  });
  const twice = named.find(({ variable }, at) => named.findIndex((other) => other.variable === variable) !== at);
  if (twice === undefined) return named;
  throw invalid('upstreams', `two of them would be ${twice.variable}_MTLS_URL to the app`, 'remove one of them');
}

function readAllow(value: string | undefined, needed: boolean): 'any' | string[] {
  if (value === undefined) {
    if (!needed) return [];
    throw invalid('allow', 'inbound needs to say who may call', 'list the callers: "web, ops/*", or "any"');
  }
  if (value === 'any') return 'any';
  const callers = items(value);
  const wrong = callers.find((caller) => caller === 'any' || !CALLER.test(caller));
  if (callers.length > 0 && wrong === undefined) return callers;
  const why = wrong === undefined ? 'an empty list lets nobody in' : `${JSON.stringify(wrong)} is no caller`;
  throw invalid('allow', why, 'write SERVICE, NAMESPACE/SERVICE, NAMESPACE/* or a SPIFFE id; or "any" alone');
}

function portOf(text: string): number | undefined {
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

function invalid(key: string, why: string, fix: string): Refusal {
  return new Refusal('invalid-annotation', `annotation ${DOMAIN}/${key}: ${why}`, fix);
}
