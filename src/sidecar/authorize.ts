import { SidelockError } from '../base/errors.ts';
import { plainPath } from '../base/request-path.ts';
import {
  checkServiceName,
  DEVICE_NAMESPACE,
  MANAGER_NAMESPACE,
  parseSpiffeId,
  type SpiffeId,
  serviceOf,
  serviceSpiffeId,
} from '../pki/names.ts';
import type { AllowEntry, AllowRule } from './options.ts';

/** Where a short pattern stands: `orders` means `spiffe://<trustDomain>/ns/<namespace>/sa/orders`. */
export interface PatternContext {
  readonly trustDomain: string;
  readonly namespace: string;
}

/** What a caller may do. */
export interface Grant {
  /** One of these has to match; undefined: every request, and bytes that are no requests. */
  readonly requests: readonly RequestRule[] | undefined;
}

interface RequestRule {
  readonly methods: ReadonlySet<string> | undefined;
  /** Undefined: every target. */
  readonly paths: { readonly exact: ReadonlySet<string>; readonly prefixes: readonly string[] } | undefined;
}

/** Decides by SPIFFE id alone; byte comparison, no normalisation. Undefined: the caller may do nothing. */
export type Authorizer = (id: SpiffeId) => Grant | undefined;

const EVERYTHING: Grant = Object.freeze({ requests: undefined });

const NO_SERVICES: ReadonlySet<string | undefined> = new Set([DEVICE_NAMESPACE, MANAGER_NAMESPACE]);

/**
 * Compiles a rule: the word `any`, which is every service, and not a device or the manager (threats.md C87), or entries whose caller is a pattern `service`, `namespace/service`, `namespace/*`,
 * `spiffe://…` or `spiffe://…/*` (that prefix and at least one more segment). An empty list lets nobody in. Of several
 * entries for a caller each one grants what it says.
 * @throws SL-CFG-003 naming the pattern that is not one.
 */
export function compileAllow(rule: AllowRule, context: PatternContext): Authorizer {
  if (rule === 'any') return (id) => (NO_SERVICES.has(serviceOf(id)?.namespace) ? undefined : EVERYTHING);
  const exact = new Map<string, Grant>();
  const prefixes: Array<readonly [prefix: string, grant: Grant]> = [];
  for (const entry of rule) {
    const uri = expand(callerPattern(entry, context), context);
    const grant = typeof entry === 'string' ? EVERYTHING : grantOf(entry);
    if (uri.endsWith('/*')) prefixes.push([uri.slice(0, -1), grant]);
    else exact.set(uri, join(exact.get(uri), grant));
  }
  return ({ uri }) => {
    let granted = exact.get(uri);
    for (const [prefix, grant] of prefixes) {
      if (uri.startsWith(prefix) && uri.length > prefix.length) granted = join(granted, grant);
    }
    return granted;
  };
}

export type RequestVerdict = 'allowed' | 'method_or_path' | 'ambiguous_path';

/** Methods and paths are compared by byte, paths in the form of `plainPath`. */
export function judgeRequest({ requests }: Grant, method: string, target: string): RequestVerdict {
  if (requests === undefined) return 'allowed';
  const rules = requests.filter(({ methods }) => methods === undefined || methods.has(method));
  if (rules.length === 0) return 'method_or_path';
  if (rules.some(({ paths }) => paths === undefined)) return 'allowed';
  const path = plainPath(target);
  if (path === undefined) return 'ambiguous_path';
  const matches = rules.some(
    ({ paths }) => paths?.exact.has(path) === true || paths?.prefixes.some((prefix) => path.startsWith(prefix)),
  );
  return matches ? 'allowed' : 'method_or_path';
}

/** An entry as one line of text: `ops/* GET /healthz`. */
export function entryText(entry: string | AllowEntry, context: PatternContext): string {
  const caller = expand(callerPattern(entry, context), context);
  if (typeof entry === 'string') return caller;
  return [caller, entry.methods?.join('|'), entry.paths?.join('|')].filter((part) => part !== undefined).join(' ');
}

function callerPattern(entry: string | AllowEntry, { namespace: own }: PatternContext): string {
  if (typeof entry === 'string') return entry;
  const { service, namespace, spiffe } = entry;
  if (spiffe !== undefined && service === undefined && namespace === undefined) return spiffe;
  if (spiffe === undefined && service !== undefined) return `${namespace ?? own}/${service}`;
  if (spiffe === undefined && namespace !== undefined) return `${namespace}/*`;
  throw new SidelockError('SL-CFG-003', 'an entry of allow does not say who may call', {
    why: `found ${JSON.stringify(entry)}`,
    fix: 'give service, namespace or both; or spiffe alone',
  });
}

function grantOf({ methods, paths }: AllowEntry): Grant {
  if (methods === undefined && paths === undefined) return EVERYTHING;
  return {
    requests: [
      {
        methods: methods === undefined ? undefined : new Set(methods),
        paths: paths === undefined ? undefined : compilePaths(paths),
      },
    ],
  };
}

function join(a: Grant | undefined, b: Grant): Grant {
  if (a === undefined) return b;
  return a.requests === undefined || b.requests === undefined
    ? EVERYTHING
    : { requests: [...a.requests, ...b.requests] };
}

function compilePaths(paths: readonly string[]) {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const pattern of paths) {
    const open = pattern.endsWith('/*');
    const plain = plainPath(open ? pattern.slice(0, -1) : pattern);
    if (plain === undefined || pattern.includes('?') || plain.includes('*')) throw noPath(pattern);
    if (open) prefixes.push(plain);
    else exact.add(plain);
  }
  return { exact, prefixes };
}

function noPath(pattern: string): SidelockError {
  return new SidelockError('SL-CFG-003', `"${pattern}" is not a pattern for a path`, {
    why: 'it does not begin with /, has a query, or can be read in two ways',
    fix: 'write /exact/path, or /prefix/* for all below it',
    data: { pattern },
  });
}

/** The shortest pattern for an id: the other way of `expand`. */
export function shortName(uri: string, { trustDomain, namespace }: PatternContext): string {
  const services = `spiffe://${trustDomain}/ns/`;
  if (!uri.startsWith(services)) return uri;
  const [space, sa, service, ...more] = uri.slice(services.length).split('/');
  if (sa !== 'sa' || service === undefined || more.length > 0) return uri;
  return space === namespace ? service : `${space}/${service}`;
}

/** The full form of one pattern. */
export function expand(pattern: string, { trustDomain, namespace }: PatternContext): string {
  try {
    const open = pattern.endsWith('/*');
    const text = open ? pattern.slice(0, -2) : pattern;
    if (text.startsWith('spiffe://')) {
      parseSpiffeId(open ? `${text}/x` : text);
      return pattern;
    }
    if (open) {
      checkServiceName(text);
      return `spiffe://${trustDomain}/ns/${text}/sa/*`;
    }
    const [first = '', second, ...more] = text.split('/');
    if (more.length > 0) throw new SidelockError('SL-NAME-002', `"${text}" has more than two parts`);
    return serviceSpiffeId({
      trustDomain,
      namespace: second === undefined ? namespace : first,
      service: second ?? first,
    });
  } catch (cause) {
    throw new SidelockError('SL-CFG-003', `"${pattern}" is not a pattern for a caller`, {
      why: cause instanceof Error ? cause.message : undefined,
      fix: 'write service, namespace/service, namespace/*, or a whole SPIFFE id (which may end in /*)',
      cause,
      data: { pattern },
    });
  }
}
