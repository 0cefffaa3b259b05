import { type Json, SIDECAR_UID } from './names.ts';

/** What an operator chooses. */
export interface InstallOptions {
  readonly namespace: string;
  readonly managerImage: string;
  /** Of the webhook, and of the sidecars it puts into pods. */
  readonly sidecarImage: string;
  readonly trustDomain: string;
  /** Whether pods are made without sidecar while no webhook answers, or not at all. */
  readonly failurePolicy: 'Ignore' | 'Fail';
  /** Sidecars get their certificates from kubelet (Kubernetes 1.37). */
  readonly podCertificates?: boolean | undefined;
  /** In labelled namespaces no pod is made without sidecar, unless its label says disabled. */
  readonly requireSidecar?: boolean | undefined;
  /** Of the volume with the CA; that of the cluster unless given. */
  readonly storageClass?: string | undefined;
  /** Of the manager: in a volume, or in Secrets, which any number of replicas can share. */
  readonly state?: 'volume' | 'secrets';
  readonly managerReplicas?: number;
  /** Namespaces where the manager may keep Secrets, mount them, and write Istio's policies; none unless given. */
  readonly integrate?: readonly string[] | undefined;
}

type Component = 'manager' | 'webhook';

export function labels(component?: Component): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'sidelock',
    ...(component === undefined ? {} : { 'app.kubernetes.io/component': component }),
    'app.kubernetes.io/part-of': 'sidelock',
  };
}

/** What Services and Deployments find their pods by: it must never change. */
export function selector(component: Component): Record<string, string> {
  return { 'app.kubernetes.io/name': 'sidelock', 'app.kubernetes.io/component': component };
}

export function metadata(name: string, component: Component, namespace?: string): Json {
  return { name, ...(namespace === undefined ? {} : { namespace }), labels: labels(component) };
}

/** An account with these rights in the cluster and in its namespace. */
export function account(
  name: string,
  component: Component,
  namespace: string,
  rules: { readonly cluster: readonly Json[]; readonly own: readonly Json[] },
): Json[] {
  const group = 'rbac.authorization.k8s.io';
  const rbac = { apiVersion: `${group}/v1` };
  const subjects = [{ kind: 'ServiceAccount', name, namespace }];
  const binding = (kind: string) => ({ subjects, roleRef: { apiGroup: group, kind, name } });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(name, component, namespace) },
    { ...rbac, kind: 'ClusterRole', metadata: metadata(name, component), rules: rules.cluster },
    { ...rbac, kind: 'ClusterRoleBinding', metadata: metadata(name, component), ...binding('ClusterRole') },
    { ...rbac, kind: 'Role', metadata: metadata(name, component, namespace), rules: rules.own },
    { ...rbac, kind: 'RoleBinding', metadata: metadata(name, component, namespace), ...binding('Role') },
  ];
}

/** The pod of a Deployment within Pod Security `restricted`. */
export function pod(component: Component, serviceAccountName: string, container: Json, more: Json = {}): Json {
  return {
    metadata: { labels: labels(component) },
    spec: {
      serviceAccountName,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: SIDECAR_UID,
        runAsGroup: SIDECAR_UID,
        fsGroup: SIDECAR_UID,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: component,
          ...container,
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          terminationMessagePolicy: 'FallbackToLogsOnError',
        },
      ],
      ...more,
    },
  };
}

export function probe(path: string, port: string, more: Json): Json {
  return { httpGet: { path, port }, ...more };
}

export function variables(values: Readonly<Record<string, string>>): Json[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}

/** Lets in what `ports` say and, from the namespace that is called monitoring, Prometheus. */
export function networkPolicy(
  name: string,
  component: Component,
  namespace: string,
  port: number,
  health: number,
): Json {
  const prometheus = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(name, component, namespace),
    spec: {
      podSelector: { matchLabels: selector(component) },
      policyTypes: ['Ingress'],
      ingress: [
        { ports: [{ protocol: 'TCP', port }] },
        { from: [prometheus], ports: [{ protocol: 'TCP', port: health }] },
      ],
    },
  };
}
