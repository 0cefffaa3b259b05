import { isSidelockError } from '../../base/errors.ts';
import { readAnnotations } from '../../kubernetes/annotations.ts';
import { connectKubernetes, type KubeApi } from '../../kubernetes/client.ts';
import { inject } from '../../kubernetes/inject.ts';
import { listAll } from '../../kubernetes/list.ts';
import { installDefaults, installManifests } from '../../kubernetes/manifests.ts';
import { CONTAINER, DOMAIN, INJECT_LABEL, isObject, type Json, objects, textOf } from '../../kubernetes/names.ts';
import { missingRights, type Right } from '../../kubernetes/rights.ts';
import { selects } from '../../kubernetes/selects.ts';
import { publishedRoots } from '../../kubernetes/trust-config-map.ts';
import { packageVersion } from '../version.ts';
import type { ClusterFacts, PodFacts } from './cluster.ts';
import type { CheckId } from './finding.ts';

interface Wanted {
  /** Where sidelock is, or is going to be. */
  readonly namespace: string;
  /** Only what has to be right before. */
  readonly pre: boolean;
}

const WEBHOOK = 'sidelock-webhook';
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const MESHES = /istio|linkerd|consul|kuma/i;
/** A pod is tried in so many of the labelled namespaces. */
const TRIED = 5;

/** Asks the API server of the kubeconfig. What we may not read is told as that. @throws SL-KUBE-001, SL-KUBE-002 */
export async function clusterFacts({ namespace, pre }: Wanted): Promise<ClusterFacts> {
  const api = await connectKubernetes();
  const { unread, read } = reading();
  const version = textOf(await api.get('/version'), 'gitVersion');
  const all = { verb: 'list', group: 'admissionregistration.k8s.io', resource: 'mutatingwebhookconfigurations' };
  const configurations = await read(all, 'cluster.meshes', () => listAll(api, CONFIGURATIONS));
  const names = (configurations ?? []).map(({ metadata }) => textOf(metadata, 'name'));
  const ofNamespaces = { verb: 'list', resource: 'namespaces' };
  const labelled = await read(ofNamespaces, 'cluster.psa', () =>
    listAll(api, '/api/v1/namespaces', `${INJECT_LABEL}=enabled`),
  );
  const before = {
    ...{ namespace, version, unread, meshes: names.filter((name) => MESHES.test(name)) },
    namespaces: (labelled ?? []).map(({ metadata }) => ({ ...levelOf(metadata), trial: undefined })),
  };
  if (pre) {
    const missing = await missingRights(api, rightsToInstall(namespace));
    return { ...before, missingRights: missing, webhook: undefined, publishedRoots: 0, pods: [], bypasses: [] };
  }
  const configuration = configurations?.find(({ metadata }) => textOf(metadata, 'name') === WEBHOOK);
  const inEach = async (resource: 'pods' | 'services', lost: CheckId) => {
    const lists = before.namespaces.map(({ name }) =>
      read({ verb: 'list', resource, namespace: name }, lost, () =>
        listAll(api, `/api/v1/namespaces/${name}/${resource}`),
      ),
    );
    return (await Promise.all(lists)).flatMap((some) => some ?? []);
  };
  const [pods, services] = [await inEach('pods', 'cluster.pods'), await inEach('services', 'cluster.plaintext')];
  const trust = { verb: 'get', resource: 'configmaps', name: 'sidelock-trust', namespace };
  const published = await read(trust, 'cluster.trust', () => publishedRoots(api, namespace));
  return {
    ...before,
    missingRights: [],
    webhook: configuration === undefined ? undefined : await webhookFacts(api, namespace, configuration, read),
    namespaces: await Promise.all(
      before.namespaces.map(async (one, i) =>
        configuration === undefined || i >= TRIED ? one : { ...one, trial: await tryPod(api, one.name, read) },
      ),
    ),
    publishedRoots: published?.length ?? 0,
    pods: pods.flatMap(podFacts),
    bypasses: services.flatMap((service) => bypassesOf(service, pods)),
  };
}

type Read = <T>(right: Right, lost: CheckId, ask: () => Promise<T>) => Promise<T | undefined>;

/** Undefined where the answer is 403, which is noted with the right that it takes and the check that is not made. */
function reading() {
  const unread: Array<ClusterFacts['unread'][number]> = [];
  const read: Read = async (right, lost, ask) => {
    try {
      return await ask();
    } catch (error) {
      if (!isSidelockError(error, 'SL-KUBE-002') || error.data['kubernetes'] !== 403) throw error;
      unread.push({ right, lost });
      return undefined;
    }
  };
  return { unread, read };
}

function levelOf(metadata: unknown): { readonly name: string; readonly enforce: string } {
  const labels = isObject(metadata) ? metadata['labels'] : undefined;
  return { name: textOf(metadata, 'name'), enforce: textOf(labels, 'pod-security.kubernetes.io/enforce') };
}

/** To create and to change each kind of object that `sidelock install` prints. */
function rightsToInstall(namespace: string): Right[] {
  const kinds = new Map<string, Omit<Right, 'verb'>>();
  for (const object of installManifests({ ...installDefaults(packageVersion()), namespace })) {
    const [version = '', kind] = [textOf(object, 'apiVersion'), textOf(object, 'kind')];
    const group = version.includes('/') ? { group: version.slice(0, version.indexOf('/')) } : {};
    const resource = kind.toLowerCase().replace(/y$/, 'ie').concat('s');
    const own = textOf(object['metadata'], 'namespace');
    kinds.set(`${version} ${kind}`, { ...group, resource, ...(own === '' ? {} : { namespace: own }) });
  }
  return [...kinds.values()].flatMap((kind) => ['create', 'patch'].map((verb) => ({ verb, ...kind })));
}

async function webhookFacts(api: KubeApi, namespace: string, configuration: Json, read: Read) {
  const ca = { verb: 'get', resource: 'secrets', name: `${WEBHOOK}-ca`, namespace };
  const secret = await read(ca, 'cluster.bundle', () =>
    api.get(`/api/v1/namespaces/${namespace}/secrets/${WEBHOOK}-ca`),
  );
  const wanted = textOf(secret?.['data'], 'ca.crt');
  const given = objects(configuration['webhooks']).map(({ clientConfig }) => textOf(clientConfig, 'caBundle'));
  const group = 'discovery.k8s.io';
  const slices = await read({ verb: 'list', group, resource: 'endpointslices', namespace }, 'cluster.webhook', () =>
    listAll(api, `/apis/${group}/v1/namespaces/${namespace}/endpointslices`, `kubernetes.io/service-name=${WEBHOOK}`),
  );
  const endpoints = slices?.flatMap((slice) => objects(slice['endpoints']));
  const ready = endpoints?.filter(({ conditions }) => isObject(conditions) && conditions['ready'] === true);
  const bundle = wanted === '' ? undefined : given.every((one) => one === wanted);
  return { bundle, endpoints: ready?.length ?? 0 };
}

/** The API server makes it in all ways but one: it is not kept. */
async function tryPod(
  api: KubeApi,
  namespace: string,
  read: Read,
): Promise<ClusterFacts['namespaces'][number]['trial']> {
  // It runs as the account that each namespace has.
  const asked = { service: 'default', inbound: '8443:8080', allow: 'any' };
  const annotations = Object.fromEntries(Object.entries(asked).map(([key, value]) => [`${DOMAIN}/${key}`, value]));
  const securityContext = {
    ...{ allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: { drop: ['ALL'] } },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const pod = {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'sidelock-check-', namespace, annotations } },
    spec: { containers: [{ name: 'app', image: 'registry.invalid/none', securityContext }] },
  };
  try {
    // Pod Security says 403 too: that is not for want of a right.
    const made = await api.create(`/api/v1/namespaces/${namespace}/pods`, pod, { dryRun: true });
    return sidecarOf(made) === undefined ? 'without' : 'injected';
  } catch (error) {
    if (!isSidelockError(error, 'SL-KUBE-002')) throw error;
    const right = { verb: 'create', resource: 'pods', namespace };
    const mayNot = error.data['kubernetes'] === 403 && (await missingRights(api, [right])).length > 0;
    if (!mayNot) return { refused: error.why ?? error.message };
    await read(right, 'cluster.injection', () => Promise.reject(error));
    return undefined;
  }
}

function sidecarOf(pod: Json | undefined): Json | undefined {
  const spec = isObject(pod?.['spec']) ? pod['spec'] : {};
  const all = [...objects(spec['initContainers']), ...objects(spec['containers'])];
  return all.find((container) => textOf(container, 'name') === CONTAINER);
}

function podFacts(pod: Json): PodFacts[] {
  const status = isObject(pod['status']) ? pod['status'] : {};
  if (['Succeeded', 'Failed'].includes(textOf(status, 'phase'))) return [];
  const { metadata } = pod;
  const annotations = isObject(metadata) ? metadata['annotations'] : undefined;
  const name = `${textOf(metadata, 'namespace')}/${textOf(metadata, 'name')}`;
  const permissive = textOf(annotations, `${DOMAIN}/mode`) === 'permissive';
  if (sidecarOf(pod) !== undefined) {
    const states = [...objects(status['initContainerStatuses']), ...objects(status['containerStatuses'])];
    const state = states.find((one) => textOf(one, 'name') === CONTAINER);
    return [{ name, sidecar: state?.['ready'] === true ? 'ready' : 'not-ready', refusal: undefined, permissive }];
  }
  const { trustDomain } = installDefaults('');
  const decided = inject(pod, { image: 'x', trustDomain, logLevel: 'info', version: packageVersion() });
  if (decided.outcome === 'skipped') return [];
  const refusal = decided.outcome === 'refused' ? { why: decided.why, fix: decided.fix } : undefined;
  return [{ name, sidecar: 'missing', refusal, permissive: false }];
}

function bypassesOf(service: Json, pods: readonly Json[]): ClusterFacts['bypasses'] {
  const { metadata, spec } = service;
  const namespace = textOf(metadata, 'namespace');
  const chosen = pods.find((pod) => {
    const labels = isObject(pod['metadata']) ? pod['metadata']['labels'] : undefined;
    const own = textOf(pod['metadata'], 'namespace') === namespace;
    return own && sidecarOf(pod) !== undefined && selects(service, labels);
  });
  if (chosen === undefined) return [];
  const inbound = inboundOf(chosen);
  return objects(isObject(spec) ? spec['ports'] : undefined).flatMap((port) => {
    const target = portOf(port['targetPort'] ?? port['port'], chosen);
    const found = inbound.find((one) => one.target === target);
    return found === undefined
      ? []
      : [{ name: `${namespace}/${textOf(metadata, 'name')}`, port: found.target, instead: found.listen }];
  });
}

function inboundOf({ metadata }: Json): ReturnType<typeof readAnnotations>['inbound'] {
  try {
    return readAnnotations(isObject(metadata) ? metadata['annotations'] : undefined).inbound;
  } catch {
    // It got its sidecar by other annotations than it has now.
    return [];
  }
}

function portOf(target: unknown, { spec }: Json): number | undefined {
  if (typeof target === 'number') return target;
  const containers = isObject(spec) ? objects(spec['containers']) : [];
  const named = containers.flatMap((container) => objects(container['ports'])).find(({ name }) => name === target);
  return typeof named?.['containerPort'] === 'number' ? named['containerPort'] : undefined;
}
