/** Why a pod gets no sidecar although it asks for one: a label of metrics, so the list is closed. */
export type RefusalReason =
  | 'not-a-pod'
  | 'host-network'
  | 'windows'
  | 'other-mesh'
  | 'invalid-annotation'
  | 'no-service'
  | 'other-account'
  | 'nothing-to-do'
  | 'name-clash'
  | 'port-clash'
  /** A name cannot be led to the sidecar. */
  | 'host-alias'
  /** The webhook does not know the roots of the manager yet. */
  | 'no-trust';

/** Thrown inside this layer only; callers get it as a value. */
export class Refusal extends Error {
  readonly reason: RefusalReason;
  readonly fix: string;

  constructor(reason: RefusalReason, why: string, fix: string) {
    super(why);
    this.reason = reason;
    this.fix = fix;
  }
}
