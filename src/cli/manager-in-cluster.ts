import { systemClock } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { Right } from '../kubernetes/rights.ts';
import type { ManagerOptions } from '../manager/options.ts';

interface InCluster {
  readonly pods: NonNullable<ManagerOptions['pods']>;
  /** Keeps what the cluster needs of the manager up to date until it is disposed. */
  keep(bundle: () => string): AsyncDisposable;
}

/** What the manager does in a cluster; undefined where it has none. @throws SL-KUBE-001 without a kubeconfig */
export async function inCluster({ kubernetes }: ManagerConfig, log: Logger): Promise<InCluster | undefined> {
  if (kubernetes.pods === 'off') return undefined;
  const [{ connectKubernetes }, { createPodReview }, { keepTrust }, { missingRights }] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/pod-review.ts'),
    import('../kubernetes/trust-config-map.ts'),
    import('../kubernetes/rights.ts'),
  ]);
  const api = await connectKubernetes();
  const { namespace, validity } = kubernetes;
  await missingRights(api, RIGHTS).then(
    (missing) => {
      const fields = { event: 'rights_missing', code: 'SL-KUBE-002', missing };
      if (missing.length > 0) log.error(fields, `pods cannot enrol: this account may not ${missing.join('; ')}`);
    },
    (error: unknown) => {
      if (!isSidelockError(error)) throw error;
      log.error({ event: 'rights_unknown', code: error.code, why: error.why }, error.message);
    },
  );
  return {
    pods: { review: createPodReview(api, log), validityMs: validity },
    keep(bundle) {
      const stop = new AbortController();
      const { signal } = stop;
      const kept =
        namespace === undefined ? undefined : keepTrust({ api, namespace, bundle, clock: systemClock, log, signal });
      return {
        async [Symbol.asyncDispose]() {
          stop.abort();
          await kept;
        },
      };
    },
  };
}

const RIGHTS: readonly Right[] = [
  { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
  { verb: 'get', resource: 'pods' },
  { verb: 'list', resource: 'services' },
];
