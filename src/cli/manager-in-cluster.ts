import { systemClock, systemRandom } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { Manager } from '../manager/manager.ts';
import type { ManagerOptions } from '../manager/options.ts';

interface InCluster {
  readonly pods: NonNullable<ManagerOptions['pods']>;
  /** Keeps what the cluster needs of the manager up to date until it is disposed. */
  keep(manager: Kept, settled?: () => Promise<void>): AsyncDisposable;
}

type Kept = Pick<Manager, 'trustBundle' | 'certifyPod' | 'early'>;

/** What the manager does in a cluster; undefined where it has none. @throws SL-KUBE-001 without a kubeconfig */
export async function inCluster(
  { kubernetes }: ManagerConfig,
  { log, metrics }: { readonly log: Logger; readonly metrics: Metrics },
): Promise<InCluster | undefined> {
  if (kubernetes.pods === 'off') return undefined;
  const [
    { connectKubernetes },
    { createPodReview },
    { signPodCertificates },
    { followServices },
    { keepTrust },
    { managerRights, tellMissingRights },
    { createWatchMetrics },
  ] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/pod-review.ts'),
    import('../kubernetes/pod-certificates.ts'),
    import('../kubernetes/service-names.ts'),
    import('../kubernetes/trust-config-map.ts'),
    import('../kubernetes/rights.ts'),
    import('../kubernetes/watch-metrics.ts'),
  ]);
  const api = await connectKubernetes();
  const { namespace, validity } = kubernetes;
  const clusterTrustBundle = kubernetes.podCertificates === 'on';
  const rights = managerRights({ namespace, podCertificates: clusterTrustBundle });
  await tellMissingRights(api, rights, { log, effect: 'pods may not get certificates' });
  return {
    pods: { review: createPodReview(api, log), validityMs: validity },
    keep({ trustBundle, certifyPod, early }, settled) {
      const stop = new AbortController();
      const watch = { random: systemRandom, metrics: createWatchMetrics(metrics) };
      const common = { api, clock: systemClock, log, signal: stop.signal };
      const bundle = () => trustBundle().pem;
      const certify: typeof certifyPod = async (request) => {
        const entry = await certifyPod(request);
        await settled?.();
        return entry;
      };
      const kept =
        namespace === undefined ? undefined : keepTrust({ ...common, watch, namespace, clusterTrustBundle, bundle });
      const following = followServices({ ...common, watch, certificates: early.ofPods, renewEarly: early.set });
      const signing = clusterTrustBundle
        ? signPodCertificates({ ...common, watch, certify, validityMs: validity })
        : undefined;
      return {
        async [Symbol.asyncDispose]() {
          stop.abort();
          await Promise.all([kept, following, signing]);
        },
      };
    },
  };
}
