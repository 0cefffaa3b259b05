import { metadata } from './manifest-parts.ts';
import type { Json } from './names.ts';

/**
 * Rights of the manager in the namespaces where it keeps certificates as Secrets, mounts them into Deployments, and writes
 * Istio's policies: `sidelock kubernetes` and `bootstrapClusterMtls`. A Role cannot name what is called after services.
 */
export function integrationManifests(namespaces: readonly string[], home: string): Json[] {
  const group = 'rbac.authorization.k8s.io';
  return namespaces.flatMap((namespace) => {
    const of = (kind: string) => ({
      ...{ apiVersion: `${group}/v1`, kind },
      metadata: metadata(INTEGRATION, 'manager', namespace),
    });
    return [
      { ...of('Role'), rules: RULES },
      {
        ...of('RoleBinding'),
        subjects: [{ kind: 'ServiceAccount', name: 'sidelock-manager', namespace: home }],
        roleRef: { apiGroup: group, kind: 'Role', name: INTEGRATION },
      },
    ];
  });
}

export const INTEGRATION = 'sidelock-integration';
const RULES: readonly Json[] = [
  { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'create', 'update'] },
  { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'patch'] },
  { apiGroups: ['security.istio.io'], resources: ['peerauthentications'], verbs: ['get', 'create', 'patch'] },
  { apiGroups: ['networking.istio.io'], resources: ['destinationrules'], verbs: ['get', 'create', 'patch'] },
];
