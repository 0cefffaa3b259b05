import { SidelockError } from '../base/errors.ts';
import { checkServiceName, parseSpiffeId, type SpiffeId, serviceSpiffeId } from '../pki/names.ts';
import type { AllowRule } from './options.ts';

/** Where a short pattern stands: `orders` means `spiffe://<trustDomain>/ns/<namespace>/sa/orders`. */
interface PatternContext {
  readonly trustDomain: string;
  readonly namespace: string;
}

/** Decides by SPIFFE id alone; byte comparison, no normalisation. */
export type Authorizer = (id: SpiffeId) => boolean;

/**
 * Compiles a rule: the word `any`, or patterns `service`, `namespace/service`, `namespace/*`, `spiffe://…` and
 * `spiffe://…/*` (that prefix and at least one more segment). An empty list lets nobody in.
 * @throws SL-CFG-003 naming the pattern that is not one.
 */
export function compileAllow(rule: AllowRule, context: PatternContext): Authorizer {
  if (rule === 'any') return () => true;
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const pattern of rule) {
    const uri = expand(pattern, context);
    if (uri.endsWith('/*')) prefixes.push(uri.slice(0, -1));
    else exact.add(uri);
  }
  return ({ uri }) => exact.has(uri) || prefixes.some((prefix) => uri.startsWith(prefix) && uri.length > prefix.length);
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
