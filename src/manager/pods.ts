/** Who a pod is, as its cluster vouches. */
export interface ProvenPod {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: string;
  readonly uid: string;
  /** DNS names of the Services that select it. */
  readonly dnsNames: readonly string[];
}

/**
 * Asks the cluster whose ServiceAccount token this is. Nothing is remembered from one call to the next.
 * @throws SL-POD-001 the token is no proof, SL-POD-002 the pod is not one that may enrol, SL-KUBE-001, SL-KUBE-002
 */
export type ReviewPod = (token: string, remote: string) => Promise<ProvenPod>;
