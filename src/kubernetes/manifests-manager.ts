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
import { type Json, SIGNER, TRUST_BUNDLE } from './names.ts';

const NAME = 'sidelock-manager';
const DIRECTORY = '/var/lib/sidelock';
const CERTIFICATES = { apiGroups: ['certificates.k8s.io'] };
/** To answer kubelets, and to publish the roots for them; Kubernetes lets every account read those. */
const SIGNING: readonly Json[] = [
  { ...CERTIFICATES, resources: ['podcertificaterequests'], verbs: ['list', 'watch'] },
  { ...CERTIFICATES, resources: ['podcertificaterequests/status'], verbs: ['update'] },
  { ...CERTIFICATES, resources: ['signers'], resourceNames: [SIGNER], verbs: ['sign', 'attest'] },
  { ...CERTIFICATES, resources: ['clustertrustbundles'], resourceNames: [TRUST_BUNDLE], verbs: ['patch'] },
  { ...CERTIFICATES, resources: ['clustertrustbundles'], verbs: ['create'] },
];

/**
 * Holds the key of the CA. With its state in a volume it is one replica, and sidecars serve on while it restarts. With its
 * state in Secrets it is several, of which one leads: the Service leads to that one alone, by the EndpointSlice it writes.
 */
export function managerManifests(options: InstallOptions): Json[] {
  const { namespace, managerImage, trustDomain, storageClass, state = 'volume', managerReplicas = 1 } = options;
  const { podCertificates = false } = options;
  const shared = state === 'secrets';
  const api = { name: 'api', port: 9443, targetPort: 9443 };
  const health = { name: 'health', port: 9444, targetPort: 9444 };
  const named = metadata(NAME, 'manager', namespace);
  return [
    ...account(NAME, 'manager', namespace, {
      cluster: [
        { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
        { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
        ...(podCertificates ? SIGNING : []),
      ],
      own: [
        {
          apiGroups: [''],
          resources: ['configmaps'],
          resourceNames: ['sidelock-trust'],
          verbs: ['get', 'watch', 'patch'],
        },
        { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] },
        ...(shared ? LEADING : []),
      ],
    }),
    ...(managerReplicas > 1
      ? []
      : [
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
        ]),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named,
      spec: shared ? { ports: [api] } : { selector: selector('manager'), ports: [api, health] },
    },
    ...(shared
      ? [
          {
            apiVersion: 'v1',
            kind: 'Service',
            metadata: metadata(`${NAME}-replicas`, 'manager', namespace),
            spec: { clusterIP: 'None', selector: selector('manager'), ports: [health] },
          },
          {
            apiVersion: 'policy/v1',
            kind: 'PodDisruptionBudget',
            metadata: named,
            spec: { maxUnavailable: 1, selector: { matchLabels: selector('manager') } },
          },
        ]
      : []),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named,
      spec: {
        replicas: managerReplicas,
        strategy: { type: managerReplicas > 1 ? 'RollingUpdate' : 'Recreate' },
        selector: { matchLabels: selector('manager') },
        template: pod(
          'manager',
          NAME,
          {
            image: managerImage,
            args: ['manager'],
            env: [
              ...variables({
                MTLS_STORAGE_PATH: `${DIRECTORY}/store`,
                MTLS_ADDRESS: `https://${NAME}.${namespace}.svc:9443`,
                MTLS_HEALTH: '0.0.0.0:9444',
                MTLS_TRUST_DOMAIN: trustDomain,
                MTLS_KUBERNETES_PODS: 'on',
                MTLS_KUBERNETES_NAMESPACE: namespace,
                ...(podCertificates ? { MTLS_KUBERNETES_POD_CERTIFICATES: 'on' } : {}),
                ...(shared ? { MTLS_KUBERNETES_STATE: 'secrets' } : {}),
              }),
              ...(shared ? [POD_ADDRESS] : []),
            ],
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
          {
            ...(managerReplicas > 1 ? { affinity: APART } : {}),
            volumes: [
              managerReplicas > 1
                ? { name: 'store', emptyDir: { medium: 'Memory', sizeLimit: '256Mi' } }
                : { name: 'store', persistentVolumeClaim: { claimName: NAME } },
            ],
          },
        ),
      },
    },
    networkPolicy(NAME, 'manager', namespace, 9443, 9444),
  ];
}

/** The state has as many Secrets as it needs, so that they cannot be named. */
const LEADING = [
  ...[
    { group: 'coordination.k8s.io', resource: 'leases', verbs: ['get', 'watch', 'update'] },
    { group: 'discovery.k8s.io', resource: 'endpointslices', verbs: ['get', 'update'] },
  ].flatMap(({ group, resource, verbs }) => [
    { apiGroups: [group], resources: [resource], resourceNames: [NAME], verbs },
    { apiGroups: [group], resources: [resource], verbs: ['create'] },
  ]),
  { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list', 'create', 'update', 'delete'] },
];

const POD_ADDRESS = { name: 'MTLS_KUBERNETES_POD_ADDRESS', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } };

const APART = {
  podAntiAffinity: {
    preferredDuringSchedulingIgnoredDuringExecution: [
      {
        weight: 100,
        podAffinityTerm: {
          topologyKey: 'kubernetes.io/hostname',
          labelSelector: { matchLabels: selector('manager') },
        },
      },
    ],
  },
};
