import type { KubeApi } from './client.ts';
import { listAll } from './list.ts';
import { INTEGRATION } from './manifests-integration.ts';
import { CONTAINER, INJECT_LABEL, isObject, type Json, MANAGED_BY, objects, textOf } from './names.ts';

/** What still needs sidelock, and the command or edit that ends it. */
export interface Dependant {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly why: string;
  readonly fix: string;
}

/** An object of ours. */
export interface Own {
  readonly kind: string;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly path: string;
  /** It goes by itself: with its owner, or is going already. */
  readonly leaves: boolean;
}

type Reader = Pick<KubeApi, 'get'>;

/** Whoever would miss sidelock: nobody of them may be left when it goes. @throws SL-KUBE-001, SL-KUBE-002 */
export async function findDependants(api: Reader, own: string): Promise<Dependant[]> {
  const [namespaces, pods, ...workloads] = await Promise.all([
    listAll(api, '/api/v1/namespaces', `${INJECT_LABEL}=enabled`),
    listAll(api, '/api/v1/pods'),
    ...Object.entries(WORKLOADS).map(async ([kind, plural]) => {
      // Items of a list do not say what they are.
      const all = await listAll(api, `/apis/apps/v1/${plural}`);
      return all.flatMap((workload) => dependantTemplate(kind, workload));
    }),
  ]);
  const labelled = namespaces.map(({ metadata }): Dependant => {
    const name = textOf(metadata, 'name');
    const fix = `kubectl label namespace ${name} ${INJECT_LABEL}-`;
    return { kind: 'Namespace', namespace: name, name, why: 'its new pods are to get sidecars', fix };
  });
  const running = pods.flatMap((pod) => dependantPod(pod));
  return [...labelled, ...workloads.flat(), ...running].filter(({ namespace }) => namespace !== own);
}

/** In the order in which it goes: nothing is taken from what still runs. @throws SL-KUBE-001, SL-KUBE-002 */
export async function findOwn(api: Reader, own: string): Promise<Own[][]> {
  const istio = { labels: [MANAGED], everywhere: true };
  const phases: Kind[][] = [
    [
      { api: '/apis/admissionregistration.k8s.io/v1', plural: 'mutatingwebhookconfigurations', cluster: true },
      { api: '/apis/admissionregistration.k8s.io/v1', plural: 'validatingadmissionpolicybindings', cluster: true },
      { api: '/apis/admissionregistration.k8s.io/v1', plural: 'validatingadmissionpolicies', cluster: true },
    ],
    [
      { api: '/apis/apps/v1', plural: 'deployments' },
      { api: '/api/v1', plural: 'pods', follows: true },
    ],
    [
      { api: '/api/v1', plural: 'services' },
      { api: '/apis/policy/v1', plural: 'poddisruptionbudgets' },
      { api: '/apis/networking.k8s.io/v1', plural: 'networkpolicies' },
      { api: '/apis/networking.k8s.io/v1', plural: 'networkpolicies', labels: [MANAGED], everywhere: true },
      { api: '/apis/monitoring.coreos.com/v1', plural: 'servicemonitors' },
      { api: '/apis/monitoring.coreos.com/v1', plural: 'podmonitors' },
      { api: '/apis/security.istio.io/v1', plural: 'peerauthentications', ...istio },
      { api: '/apis/networking.istio.io/v1', plural: 'destinationrules', ...istio },
      { api: '/apis/certificates.k8s.io/v1', plural: 'clustertrustbundles', cluster: true, labels: [MANAGED] },
      { api: '/apis/discovery.k8s.io/v1', plural: 'endpointslices', labels: [MANAGED] },
      { api: '/apis/coordination.k8s.io/v1', plural: 'leases', labels: [OURS, MANAGED] },
      { api: '/api/v1', plural: 'configmaps', labels: [MANAGED], everywhere: true },
      { api: '/api/v1', plural: 'secrets', labels: [MANAGED], everywhere: true },
      { api: '/api/v1', plural: 'persistentvolumeclaims' },
    ],
    [
      { api: RBAC, plural: 'clusterrolebindings', cluster: true },
      { api: RBAC, plural: 'clusterroles', cluster: true },
      ...['rolebindings', 'roles'].flatMap((plural) => [
        { api: RBAC, plural },
        { api: RBAC, plural, everywhere: true, named: INTEGRATION },
      ]),
      { api: '/api/v1', plural: 'serviceaccounts' },
      { api: '/api/v1', plural: 'secrets', labels: [`owner=helm,name=${OWN_NAME}`] },
    ],
    [{ api: '/api/v1', plural: 'namespaces', cluster: true, named: own }],
  ];
  return await Promise.all(
    phases.map(async (kinds) => (await Promise.all(kinds.map((kind) => ownOf(api, own, kind)))).flat()),
  );
}

const WORKLOADS = { Deployment: 'deployments', StatefulSet: 'statefulsets', DaemonSet: 'daemonsets' } as const;
const OWN_NAME = 'sidelock';
const OURS = `app.kubernetes.io/part-of=${OWN_NAME}`;
const MANAGED = `${MANAGED_BY.label}=${MANAGED_BY.value}`;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';

interface Kind {
  readonly api: string;
  readonly plural: string;
  readonly cluster?: boolean;
  /** In every namespace, and not in our own alone. */
  readonly everywhere?: boolean;
  /** Selectors; that of the installed objects unless given. */
  readonly labels?: readonly string[];
  readonly named?: string;
  readonly follows?: boolean;
}

async function ownOf(api: Reader, own: string, kind: Kind): Promise<Own[]> {
  const { plural, cluster = false, everywhere = false, labels = [OURS], named, follows = false } = kind;
  const at = cluster || everywhere ? `${kind.api}/${plural}` : `${kind.api}/namespaces/${own}/${plural}`;
  const found = (await Promise.all(labels.map((label) => listAll(api, at, label)))).flat();
  return found
    .map(({ metadata }): Own => {
      const name = textOf(metadata, 'name');
      const namespace = cluster ? undefined : textOf(metadata, 'namespace');
      const leaves = follows || textOf(metadata, 'deletionTimestamp') !== '';
      const inside = namespace === undefined ? '' : `/namespaces/${namespace}`;
      return { kind: plural, namespace, name, path: `${kind.api}${inside}/${plural}/${name}`, leaves };
    })
    .filter(({ name }) => named === undefined || name === named);
}

function dependantTemplate(kind: string, { metadata, spec }: Json): Dependant[] {
  const template = isObject(spec) ? spec['template'] : undefined;
  const found = needs(isObject(template) ? template['spec'] : undefined);
  if (found === undefined) return [];
  const [namespace, name] = [textOf(metadata, 'namespace'), textOf(metadata, 'name')];
  const what = `${kind.toLowerCase()}/${name}`;
  const fix =
    found === 'sidecar'
      ? `kubectl -n ${namespace} get ${what} -o yaml | sidelock uninject - | kubectl apply -f -`
      : `take the volume with Secret ${found} out of ${what} in namespace ${namespace}`;
  const why = found === 'sidecar' ? 'its template has the sidecar in it' : `its template mounts Secret ${found}`;
  return [{ kind, namespace, name, why, fix }];
}

function dependantPod({ metadata, spec, status }: Json): Dependant[] {
  const found = needs(spec);
  if (found === undefined || ['Succeeded', 'Failed'].includes(textOf(status, 'phase'))) return [];
  const [namespace, name] = [textOf(metadata, 'namespace'), textOf(metadata, 'name')];
  const [owner] = objects(isObject(metadata) ? metadata['ownerReferences'] : undefined);
  const kind = textOf(owner, 'kind');
  // A ReplicaSet is called after its Deployment and a hash.
  const workload =
    kind === 'ReplicaSet'
      ? `deployment/${textOf(owner, 'name').replace(/-[a-z0-9]+$/, '')}`
      : `${kind.toLowerCase()}/${textOf(owner, 'name')}`;
  const restarts = ['ReplicaSet', 'StatefulSet', 'DaemonSet'].includes(kind);
  const fix = restarts
    ? `kubectl -n ${namespace} rollout restart ${workload}`
    : `kubectl -n ${namespace} delete pod ${name}`;
  const why = found === 'sidecar' ? 'it has a sidecar' : `it has Secret ${found} mounted`;
  return [{ kind: 'Pod', namespace, name, why, fix }];
}

/** `sidecar`, or the name of the Secret of ours that is mounted. */
function needs(spec: unknown): string | undefined {
  if (!isObject(spec)) return undefined;
  const containers = [...objects(spec['initContainers']), ...objects(spec['containers'])];
  if (containers.some((container) => textOf(container, 'name') === CONTAINER)) return 'sidecar';
  return objects(spec['volumes'])
    .map(({ secret }) => textOf(secret, 'secretName'))
    .find((name) => name.endsWith('-mtls-certs'));
}
