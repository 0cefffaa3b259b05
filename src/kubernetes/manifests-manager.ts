import {
  account,
  type InstallOptions,
  metadata,
  networkPolicy,
  pod,
  probe,
  selector,
  variables,
} from './manifest-parts.ts';
import type { Json } from './names.ts';

const NAME = 'sidelock-manager';
const DIRECTORY = '/var/lib/sidelock';

/** Holds the key of the CA. One replica: its storage is locked, and sidecars serve on while it restarts. */
export function managerManifests({ namespace, managerImage, trustDomain, storageClass }: InstallOptions): Json[] {
  const named = metadata(NAME, 'manager', namespace);
  return [
    ...account(NAME, 'manager', namespace, {
      cluster: [
        { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
        { apiGroups: [''], resources: ['services'], verbs: ['list'] },
      ],
      own: [
        { apiGroups: [''], resources: ['configmaps'], resourceNames: ['sidelock-trust'], verbs: ['get', 'patch'] },
        { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] },
      ],
    }),
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: named,
      spec: {
        accessModes: ['ReadWriteOnce'],
        ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
        resources: { requests: { storage: '1Gi' } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named,
      spec: {
        selector: selector('manager'),
        ports: [
          { name: 'api', port: 9443, targetPort: 9443 },
          { name: 'health', port: 9444, targetPort: 9444 },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named,
      spec: {
        replicas: 1,
        strategy: { type: 'Recreate' },
        selector: { matchLabels: selector('manager') },
        template: pod(
          'manager',
          NAME,
          {
            image: managerImage,
            args: ['manager'],
            env: variables({
              MTLS_STORAGE_PATH: `${DIRECTORY}/store`,
              MTLS_ADDRESS: `https://${NAME}.${namespace}.svc:9443`,
              MTLS_HEALTH: '0.0.0.0:9444',
              MTLS_TRUST_DOMAIN: trustDomain,
              MTLS_KUBERNETES_PODS: 'on',
              MTLS_KUBERNETES_NAMESPACE: namespace,
            }),
            ports: [
              { name: 'api', containerPort: 9443 },
              { name: 'health', containerPort: 9444 },
            ],
            // The first start makes the key of the CA.
            startupProbe: probe('/healthz', 'health', { periodSeconds: 1, failureThreshold: 120 }),
            readinessProbe: probe('/readyz', 'health', { periodSeconds: 5, timeoutSeconds: 5 }),
            livenessProbe: probe('/healthz', 'health', { periodSeconds: 10, timeoutSeconds: 5 }),
            resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
            volumeMounts: [{ name: 'store', mountPath: DIRECTORY }],
          },
          { volumes: [{ name: 'store', persistentVolumeClaim: { claimName: NAME } }] },
        ),
      },
    },
    networkPolicy(NAME, 'manager', namespace, 9443, 9444),
  ];
}
