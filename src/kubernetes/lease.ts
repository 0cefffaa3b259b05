import { isObject, type Json, MANAGED_BY, textOf } from './names.ts';

/** What a candidate has seen of a Lease: the record, and when it last changed by a clock of its own that never steps. */
export interface Sighting {
  readonly record: string;
  /** ms */
  readonly since: number;
}

export interface Candidate {
  readonly namespace: string;
  readonly name: string;
  /** Another one for each start of a process, so that none is taken for its predecessor. */
  readonly identity: string;
  /** How long a record that does not change keeps others out, ms; whole seconds. */
  readonly durationMs: number;
}

/** The Lease as it is seen now. `renewTime` is never compared with a clock: that of its holder may be wrong. */
export function sight(lease: Json, before: Sighting | undefined, now: number): Sighting {
  const record = JSON.stringify(lease['spec'] ?? {});
  return before?.record === record ? before : { record, since: now };
}

/** Whether nobody else holds it: it is free, ours, or its holder has not renewed for the time it gave itself. */
export function isFree(lease: Json, { since }: Sighting, identity: string, now: number): boolean {
  const holder = holderOf(lease);
  return holder === '' || holder === identity || now - since >= durationOf(lease);
}

export function holderOf(lease: Json | undefined): string {
  return textOf(lease?.['spec'], 'holderIdentity');
}

/** The record by which a candidate takes or keeps the Lease; of the version that was read, so that only one can. */
export function claim(candidate: Candidate, lease: Json | undefined, wall: number): Json {
  const { namespace, name, identity, durationMs } = candidate;
  const before = isObject(lease?.['spec']) ? lease['spec'] : {};
  const renewTime = microTime(wall);
  const keeps = holderOf(lease) === identity;
  const transitions = Number(before['leaseTransitions'] ?? 0);
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: lease?.['metadata'] ?? { namespace, name, labels: { [MANAGED_BY.label]: MANAGED_BY.value } },
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: durationMs / 1000,
      acquireTime: keeps ? before['acquireTime'] : renewTime,
      renewTime,
      leaseTransitions: keeps || lease === undefined ? transitions : transitions + 1,
    },
  };
}

/** The record of a holder that leaves, so that nobody has to wait for its end. */
export function release(lease: Json, wall: number): Json {
  const spec = isObject(lease['spec']) ? lease['spec'] : {};
  return { ...lease, spec: { ...spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(wall) } };
}

/** Exactly six digits: the API server refuses the three of `toISOString` (kubernetes/kubernetes#89156). */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

function durationOf(lease: Json): number {
  const spec = lease['spec'];
  const seconds = isObject(spec) ? spec['leaseDurationSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds * 1000 : 0;
}

/** Name of the manager's Lease, and of the Service and EndpointSlice that lead to its holder. */
export const MANAGER_LEASE = 'sidelock-manager';

export function leasesOf(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
}
