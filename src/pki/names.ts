import { isIP, isIPv6 } from 'node:net';
import { SidelockError } from '../base/errors.ts';

/** A parsed SPIFFE id. Two ids are equal when their `uri` are: nothing is ever normalised. */
export interface SpiffeId {
  readonly uri: string;
  readonly trustDomain: string;
  /** Empty for a trust domain itself, else `/` and the segments. */
  readonly path: string;
  readonly segments: readonly string[];
}

/** A name in a certificate. */
export interface San {
  readonly type: 'dns' | 'ip' | 'uri';
  readonly value: string;
}

interface ServiceNames {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly service: string;
}

const MAX_URI = 2048;
const MAX_TRUST_DOMAIN = 255;
const MAX_DNS = 253;
/** RFC 1123 label. What can be no option, path, separator or markup wherever a name is written (M37). */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Where devices have their identities: their keys are in everybody's hands. */
export const DEVICE_NAMESPACE = 'devices';

/** Where the manager has its own; no service is given one there. */
export const MANAGER_NAMESPACE = 'sidelock-system';

/** The namespace of the user's guide, whose names every service has. */
const GUIDE_NAMESPACE = 'ai-teddy';

/**
 * Parses by the SPIFFE-ID specification, section 2. A trust domain without a path is one; peers need more.
 * @throws SL-NAME-001 with the one rule that is broken in `why`
 */
export function parseSpiffeId(uri: string): SpiffeId {
  const refuse = (why: string) => new SidelockError('SL-NAME-001', `${quoted(uri)} is not a SPIFFE id`, { why });
  const fault = uriFault(uri);
  if (fault !== undefined) throw refuse(fault);
  const [trustDomain = '', ...segments] = uri.slice('spiffe://'.length).split('/');
  const broken = trustDomainFault(trustDomain) ?? pathFault(segments);
  if (broken !== undefined) throw refuse(broken);
  const path = segments.length === 0 ? '' : `/${segments.join('/')}`;
  return Object.freeze({ uri, trustDomain, path, segments: Object.freeze(segments) });
}

/** `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE`. @throws SL-NAME-001, SL-NAME-002 */
export function serviceSpiffeId({ trustDomain, namespace, service }: ServiceNames): string {
  checkServiceName(namespace);
  checkServiceName(service);
  const id = parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${service}`);
  if (id.trustDomain === trustDomain) return id.uri;
  throw new SidelockError('SL-NAME-001', `${quoted(trustDomain)} is not a trust domain`, { why: 'it holds a slash' });
}

/** The names inside an id of the form that `serviceSpiffeId` gives; undefined for ids of another form. */
export function serviceOf({
  segments,
}: SpiffeId): { readonly namespace: string; readonly service: string } | undefined {
  const [ns, namespace = '', sa, service = '', ...rest] = segments;
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
  return LABEL.test(namespace) && LABEL.test(service) ? { namespace, service } : undefined;
}

/** For names of services and namespaces. @throws SL-NAME-002 */
export function checkServiceName(name: string): void {
  if (LABEL.test(name)) return;
  const why =
    name === ''
      ? 'it is empty'
      : name.length > 63
        ? `it has ${name.length} characters; 63 are the limit`
        : /^[-a-z0-9]+$/.test(name)
          ? 'it begins or ends with a hyphen'
          : 'it holds other characters than a-z, 0-9 and -';
  throw new SidelockError('SL-NAME-002', `${quoted(name)} is not a name for a service or namespace`, { why });
}

/**
 * An exact DNS name or IP address, in the one form in which peers compare it: lower case, no wildcard, port or
 * trailing dot; IPv6 as RFC 5952 writes it.
 * @throws SL-NAME-003 with the rule that is broken in `why`
 */
export function parseSan(text: string): San {
  if (isIP(text) !== 0) {
    const canonical = isIPv6(text) ? canonicalIpv6(text) : text;
    if (canonical === text) return Object.freeze({ type: 'ip', value: text });
    const why = canonical === undefined ? 'it has a zone' : `its usual form is ${canonical}`;
    throw new SidelockError('SL-NAME-003', `${quoted(text)} is not an IP address as certificates hold it`, { why });
  }
  const why = dnsFault(text);
  if (why === undefined) return Object.freeze({ type: 'dns', value: text });
  throw new SidelockError('SL-NAME-003', `${quoted(text)} is not a DNS name or IP address`, { why });
}

/** The DNS names every certificate of a service has, each once: `web`, `web.ai-teddy.local`, … */
export function dnsNamesFor({ service, namespace, trustDomain }: ServiceNames): string[] {
  return [
    ...new Set([
      service,
      `${service}.${trustDomain}`,
      `${service}.${GUIDE_NAMESPACE}.svc.cluster.local`,
      `${service}.${namespace}.svc`,
      `${service}.${namespace}.svc.cluster.local`,
    ]),
  ];
}

function uriFault(uri: string): string | undefined {
  if (Buffer.byteLength(uri) > MAX_URI) return `it has ${Buffer.byteLength(uri)} bytes; ${MAX_URI} are the limit`;
  if (/[^\x21-\x7e]/.test(uri)) return 'it holds a space, a control character or one outside ASCII';
  if (!uri.startsWith('spiffe://')) {
    return /^spiffe:/i.test(uri) ? 'it must begin with spiffe:// in lower case' : 'its scheme is not spiffe';
  }
  if (uri.includes('?')) return 'it has a query';
  if (uri.includes('#')) return 'it has a fragment';
  if (uri.includes('%')) return 'it has a percent-encoded character';
  return undefined;
}

function trustDomainFault(name: string): string | undefined {
  if (name === '') return 'it names no trust domain';
  if (name.length > MAX_TRUST_DOMAIN) return `its trust domain has ${name.length} bytes; 255 are the limit`;
  if (name.includes('@')) return 'its trust domain has a user';
  if (name.includes(':')) return 'its trust domain has a port';
  if (/[A-Z]/.test(name)) return 'its trust domain has upper-case letters';
  if (/[^a-z0-9._-]/.test(name)) return 'its trust domain holds other characters than a-z, 0-9, dot, - and _';
  if (name.endsWith('.')) return 'its trust domain ends with a dot';
  if (name.startsWith('.') || name.includes('..')) return 'its trust domain has an empty label';
  return undefined;
}

function pathFault(segments: readonly string[]): string | undefined {
  if (segments.at(-1) === '') return 'its path ends with a slash';
  if (segments.includes('')) return 'its path has an empty segment';
  if (segments.some((segment) => segment === '.' || segment === '..')) return 'its path has a dot segment';
  if (segments.some((segment) => /[^A-Za-z0-9._-]/.test(segment))) {
    return 'its path holds other characters than letters, digits, dot, - and _';
  }
  return undefined;
}

function dnsFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.length > MAX_DNS) return `it has ${name.length} characters; ${MAX_DNS} are the limit`;
  if (name.includes('*')) return 'it has a wildcard';
  if (name.includes('://')) return 'it is a URI';
  if (/:\d+$/.test(name)) return 'it has a port';
  if (name.endsWith('.')) return 'it ends with a dot';
  if (/[A-Z]/.test(name)) return 'it has upper-case letters';
  const labels = name.split('.');
  const bad = labels.find((label) => !LABEL.test(label));
  if (bad !== undefined) return bad === '' ? 'it has an empty label' : `${quoted(bad)} is no label of a DNS name`;
  // WHATWG URL and inet_aton take such a name for an address.
  return /^\d+$/.test(labels.at(-1) ?? '') ? 'it ends in a number, as addresses do' : undefined;
}

/** RFC 5952; undefined with a zone. */
function canonicalIpv6(text: string): string | undefined {
  return URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
}

/** For messages: cut, and with nothing in it that could end a line or pass for other text. */
function quoted(text: string): string {
  const cut = text.length <= 120 ? text : `${text.slice(0, 117)}...`;
  return `"${cut.replace(/[^\x20-\x7e]|["\\]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`;
}
