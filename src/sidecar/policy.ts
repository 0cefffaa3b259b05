import { createHash } from 'node:crypto';
import type { ListenerPolicyReport } from '../api/wire-sidecar.ts';
import { SidelockError } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { SpiffeId } from '../pki/names.ts';
import {
  type Authorizer,
  compileAllow,
  entryText,
  type Grant,
  judgeRequest,
  type PatternContext,
} from './authorize.ts';
import type { DataPlane } from './data-plane.ts';
import type { OwnAnswer } from './http1/failures.ts';
import type { AllowRule, InboundOptions } from './options.ts';
import type { VerifiedPeer } from './peer-link.ts';
import { createSeen } from './seen.ts';

/** Why a caller or its request is not allowed; metric label and log field. */
type Denial = 'caller_not_listed' | 'method_or_path' | 'ambiguous_path';

/** The rules of one inbound, and how they are applied. */
export interface ListenerPolicy {
  /** Whether a verified caller may connect; counted, and explained when not. */
  connect(caller: VerifiedPeer): boolean;
  /** What to answer in place of the app; undefined when the request may pass. */
  request(caller: VerifiedPeer, method: string, target: string): OwnAnswer | undefined;
  /** Whether the caller would still be let in; not counted. */
  permits(id: SpiffeId): boolean;
  report(): ListenerPolicyReport;
  /** Another one with each other rule. */
  readonly revision: string;
}

/** A policy whose rules can be exchanged while it is in use. */
export interface LivePolicy extends ListenerPolicy {
  /** Compiles new rules and changes nothing; what it returns takes them up. @throws SL-CFG-003 (an entry of `allow`) */
  prepare(rules: PolicyRules): () => void;
}

export type PolicyRules = Pick<InboundOptions, 'name' | 'allow' | 'policy'>;
type CompiledRules = PolicyRules & Pick<InboundOptions, 'protocol'>;

/** @throws SL-CFG-003 (an entry of `allow`) */
export function createPolicy(rules: CompiledRules, plane: DataPlane): LivePolicy {
  let current = compile(rules, plane);
  tell(rules, plane);
  return {
    connect: (caller) => current.connect(caller),
    request: (caller, method, target) => current.request(caller, method, target),
    permits: (id) => current.permits(id),
    report: () => current.report(),
    get revision() {
      return current.revision;
    },
    prepare(next) {
      const compiled = compile({ ...next, protocol: rules.protocol }, plane);
      return () => {
        current = compiled;
        tell(next, plane);
      };
    },
  };
}

/** @throws SL-CFG-003 (an entry of `allow`) */
export function checkRules({ name, allow, protocol }: CompiledRules, context: PatternContext): void {
  checkProtocol(allow, protocol, name);
  compileAllow(allow, context);
}

function tell({ name: listener, policy }: PolicyRules, plane: DataPlane): void {
  const audit = policy === 'audit';
  plane.metrics.audits.with({ listener }).value = audit ? 1 : 0;
  if (!audit) return;
  plane.log.warn(
    { event: 'policy_audit', listener, fix: 'sidelock policy suggest   then policy: enforce' },
    `inbound "${listener}" enforces nothing: policy is audit, and callers it does not allow are let through`,
  );
}

function compile(
  { name: listener, allow, policy = 'enforce', protocol }: CompiledRules,
  plane: DataPlane,
): ListenerPolicy {
  checkProtocol(allow, protocol, listener);
  const since = new Date(plane.clock.now()).toISOString();
  const authorize = compileAllow(allow, plane);
  const grantOf = memoised(authorize);
  const audit = policy === 'audit';
  const seen = audit ? createSeen(plane.clock) : undefined;
  const allowed = plane.metrics.authz.with({ listener, result: 'allowed', reason: '' });

  const deny = (reason: Denial, caller: VerifiedPeer, request?: { method: string; target: string }): boolean => {
    const result = audit ? 'audited' : 'denied';
    plane.metrics.authz.with({ listener, result, reason }).value++;
    const { spiffeId, leaf, address } = caller.peer;
    // Who is refused a request reads so in its answer; who is refused a connection would see it close, and no more.
    if (request === undefined && !audit) plane.notices.add({ leaf, role: 'client', reason: 'not_allowed' });
    const id = spiffeId.uri;
    const method = request?.method.slice(0, 32);
    // A query carries secrets more often than not.
    const path = request?.target.split('?', 1)[0];
    const what = request === undefined ? 'call' : `${method} ${path} of`;
    plane.refusals.warn(
      `${listener} ${reason} ${id}`,
      {
        event: result,
        reason,
        code: request === undefined ? 'SL-AUTHZ-001' : 'SL-AUTHZ-002',
        direction: 'inbound',
        listener,
        peer: { address, id, serial: leaf.serial },
        method,
        path,
        why: rulesText(allow, plane),
        fix: `add the ${request === undefined ? 'caller' : 'method and path'} to allow of inbound "${listener}"`,
      },
      `${id} may not ${what} inbound "${listener}": ${SENTENCES[reason]}${audit ? '; let through, as policy is audit' : ''}`,
    );
    return audit;
  };

  return {
    connect(caller) {
      const granted = grantOf(caller) !== undefined;
      seen?.connection(caller.peer.spiffeId.uri, !granted);
      if (!granted) return deny('caller_not_listed', caller);
      allowed.value++;
      return true;
    },
    request(caller, method, target) {
      const grant = grantOf(caller);
      const verdict = grant === undefined ? 'caller_not_listed' : judgeRequest(grant, method, target);
      seen?.request(caller.peer.spiffeId.uri, method, target, verdict !== 'allowed');
      if (verdict === 'allowed') {
        if (grant?.requests !== undefined) allowed.value++;
        return undefined;
      }
      if (deny(verdict, caller, { method, target })) return undefined;
      return { status: 403, reason: verdict, code: 'SL-AUTHZ-002', sentence: SENTENCES[verdict] };
    },
    revision: createHash('sha256').update(JSON.stringify({ allow, policy })).digest('hex'),
    permits: (id) => audit || authorize(id) !== undefined,
    report: () => ({ listener, policy, since, callers: seen?.callers() ?? [], other: seen?.other ?? 0 }),
  };
}

/** Where no requests are seen, a rule that narrows them would grant everything. */
function checkProtocol(allow: AllowRule, protocol: InboundOptions['protocol'], listener: string): void {
  if (protocol !== 'tcp' || allow === 'any') return;
  for (const entry of allow) {
    if (typeof entry === 'string' || (entry.methods === undefined && entry.paths === undefined)) continue;
    throw new SidelockError('SL-CFG-003', `allow of inbound "${listener}" goes by method or path, but it runs as tcp`, {
      why: `found ${JSON.stringify(entry)}`,
      fix: 'set protocol: http or http2, which needs a restart',
    });
  }
}

const SENTENCES: Readonly<Record<Denial, string>> = {
  caller_not_listed: 'no allow rule matches',
  method_or_path: 'no allow rule of the caller has this method and path',
  ambiguous_path: 'two servers could read this path in two ways, and rules of the caller go by path',
};

function rulesText(allow: AllowRule, plane: DataPlane): string {
  if (allow === 'any') return 'it allows any service, and devices only where they are named';
  if (allow.length === 0) return 'its allow list is empty';
  return `it allows ${allow.map((entry) => entryText(entry, plane)).join(', ')}`;
}

/** Callers that are remembered at once. */
const MAX_MEMO = 4_096;

/** One look at the rules a certificate and generation of our identity. */
function memoised(authorize: Authorizer): (caller: VerifiedPeer) => Grant | undefined {
  const known = new Map<Certificate['fingerprint256'], Grant | undefined>();
  let generation = -1;
  return ({ peer, identity }) => {
    const key = peer.leaf.fingerprint256;
    if (identity.generation !== generation || known.size >= MAX_MEMO) {
      known.clear();
      generation = identity.generation;
    }
    const grant = known.get(key);
    if (grant !== undefined || known.has(key)) return grant;
    const fresh = authorize(peer.spiffeId);
    known.set(key, fresh);
    return fresh;
  };
}
