import { SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ProvenPod, ReviewPod } from '../manager/pods.ts';
import type { KubeApi } from './client.ts';
import { listAll } from './list.ts';
import { AUDIENCE, isObject, type Json, objects, textOf } from './names.ts';
import { serviceNames } from './service-names.ts';

type ReviewApi = Pick<KubeApi, 'get' | 'create'>;

/**
 * Judges a pod by its projected ServiceAccount token: the API server must say that the token is in force and made for
 * our audience, it must be bound to a pod, and that pod must be there, live, and run under that account.
 */
export function createPodReview(api: ReviewApi, log: Logger): ReviewPod {
  return async (token, remote) => {
    const { pod, proven } = await lookUpPod(api, await accountOf(api, token));
    const { namespace, pod: name } = proven;
    const addresses = objects(isObject(pod['status']) ? pod['status']['podIPs'] : undefined).map((a) =>
      textOf(a, 'ip'),
    );
    if (!addresses.includes(remote.replace(/^::ffff:/, ''))) {
      // Translated on the way, or stolen: only whoever knows the network can tell.
      const fields = { event: 'pod_address_differs', pod: `${namespace}/${name}`, remote, addresses };
      log.warn(fields, `the token of pod ${namespace}/${name} came from an address that is not the pod's`);
    }
    return proven;
  };
}

/** Whom somebody says that a pod is. */
export interface PodClaim {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly name: string;
  readonly uid: string;
}

/** The pod of that name, when it is all that is claimed and lives. @throws SL-POD-002, SL-KUBE-001, SL-KUBE-002 */
export async function lookUpPod(
  api: Pick<KubeApi, 'get'>,
  claim: PodClaim,
): Promise<{ readonly pod: Json; readonly proven: ProvenPod }> {
  const { namespace, name, uid, serviceAccount } = claim;
  const pod = await api.get(`/api/v1/namespaces/${namespace}/pods/${name}`);
  const fault = pod === undefined ? 'there is no such pod any more' : podFault(pod, claim);
  if (pod === undefined || fault !== undefined) {
    throw new SidelockError('SL-POD-002', `pod ${namespace}/${name} may not enrol`, { why: fault });
  }
  // Asked for each time, where the watch of Services has them too: a Service is often made in one go with its pods, and the
  // first certificate should name it. Whoever only follows is behind, and each certificate with other names is made twice.
  const services = await listAll(api, `/api/v1/namespaces/${namespace}/services`);
  const dnsNames = serviceNames(services, namespace, pod);
  return { pod, proven: { namespace, serviceAccount, pod: name, uid, dnsNames } };
}

async function accountOf(api: ReviewApi, token: string): Promise<PodClaim> {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw noProof('it is no ServiceAccount token');
  const review = await api.create('/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [AUDIENCE] },
  });
  const status = isObject(review?.['status']) ? review['status'] : {};
  const error = textOf(status, 'error');
  if (status['authenticated'] !== true || error !== '') {
    throw noProof(error === '' ? 'the API server does not take it' : `the API server says: ${error.slice(0, 300)}`);
  }
  // Without it an API server that knows no audiences has only said that the token is good for itself.
  if (!texts(status['audiences']).includes(AUDIENCE)) throw noProof(`it is not for the audience ${AUDIENCE}`);
  const user = isObject(status['user']) ? status['user'] : {};
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)$/.exec(textOf(user, 'username')) ?? [];
  if (
    namespace === undefined ||
    serviceAccount === undefined ||
    !texts(user['groups']).includes('system:serviceaccounts')
  ) {
    throw noProof('it is not that of a ServiceAccount');
  }
  const extra = isObject(user['extra']) ? user['extra'] : {};
  const [name] = texts(extra['authentication.kubernetes.io/pod-name']);
  const [uid] = texts(extra['authentication.kubernetes.io/pod-uid']);
  if (name === undefined || uid === undefined || !/^[a-z0-9.-]+$/.test(name)) {
    throw noProof('it is not bound to a pod; kubelet binds those of projected volumes');
  }
  return { namespace, serviceAccount, name, uid };
}

function podFault({ metadata, spec, status }: Json, { uid, serviceAccount }: PodClaim): string | undefined {
  if (textOf(metadata, 'uid') !== uid) return 'another pod had this name before';
  if (textOf(spec, 'serviceAccountName') !== serviceAccount) return `it does not run as ${serviceAccount}`;
  if (textOf(metadata, 'deletionTimestamp') !== '') return 'it is being deleted';
  const phase = textOf(status, 'phase');
  return phase === 'Pending' || phase === 'Running' ? undefined : `its phase is ${phase || 'unknown'}`;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function noProof(why: string): SidelockError {
  return new SidelockError('SL-POD-001', 'the ServiceAccount token is no proof of a pod', { why });
}
