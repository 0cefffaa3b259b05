import type { KubeApi, WriteOptions } from './client.ts';
import { type Change, change } from './deployments.ts';
import { isObject, type Json, MANAGED_BY, textOf } from './names.ts';

interface IstioPolicy {
  /** False where the cluster has no Istio: nothing was asked of it. */
  readonly istio: boolean;
  readonly changes: ReadonlyArray<Change & { readonly kind: string; readonly name: string }>;
}

/**
 * Lets Istio demand mTLS for a service (PeerAuthentication STRICT for pods labelled `app: <service>`) and use it towards
 * it (DestinationRule ISTIO_MUTUAL), where discovery shows Istio's API. Safe to run again; what somebody else has set
 * is a conflict. @throws SL-KUBE-001, SL-KUBE-002
 */
export async function createIstioMtlsPolicy(
  api: Pick<KubeApi, 'get' | 'apply'>,
  { service, namespace }: { readonly service: string; readonly namespace: string },
  options: WriteOptions = {},
): Promise<IstioPolicy> {
  const groups = await Promise.all([SECURITY, NETWORKING].map((group) => api.get(`/apis/${group}`)));
  const [security, networking] = groups.map((group) => versionOf(group));
  if (security === undefined || networking === undefined) return { istio: false, changes: [] };
  const host = `${service}.${namespace}.svc.cluster.local`;
  const wanted = [
    {
      at: `${SECURITY}/${security}`,
      kind: 'PeerAuthentication',
      plural: 'peerauthentications',
      spec: { selector: { matchLabels: { app: service } }, mtls: { mode: 'STRICT' } },
    },
    {
      at: `${NETWORKING}/${networking}`,
      kind: 'DestinationRule',
      plural: 'destinationrules',
      spec: { host, trafficPolicy: { tls: { mode: 'ISTIO_MUTUAL' } } },
    },
  ];
  const name = `${service}-mtls`;
  const changes = [];
  for (const { at, kind, plural, spec } of wanted) {
    const path = `/apis/${at}/namespaces/${namespace}/${plural}/${name}`;
    const metadata = { name, namespace, labels: { [MANAGED_BY.label]: MANAGED_BY.value } };
    const before = await api.get(path);
    const after = await api.apply(path, { apiVersion: at, kind, metadata, spec }, options);
    changes.push({ kind, name, ...change(before, after) });
  }
  return { istio: true, changes };
}

const SECURITY = 'security.istio.io';
const NETWORKING = 'networking.istio.io';

function versionOf(group: Json | undefined): string | undefined {
  const preferred = group?.['preferredVersion'];
  return isObject(preferred) ? textOf(preferred, 'version') || undefined : undefined;
}
