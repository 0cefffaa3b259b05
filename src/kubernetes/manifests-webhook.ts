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
import { CONTAINER, DOMAIN, INJECT_LABEL, type Json } from './names.ts';

const NAME = 'sidelock-webhook';

/** Faces the API server and holds no key but that of its own serving certificate. */
export function webhookManifests(options: InstallOptions): Json[] {
  const {
    namespace,
    sidecarImage,
    trustDomain,
    failurePolicy,
    podCertificates = false,
    requireSidecar = false,
  } = options;
  const named = metadata(NAME, 'webhook', namespace);
  return [
    ...account(NAME, 'webhook', namespace, {
      cluster: [
        {
          apiGroups: ['admissionregistration.k8s.io'],
          resources: ['mutatingwebhookconfigurations'],
          resourceNames: [NAME],
          verbs: ['get', 'watch', 'patch'],
        },
        { apiGroups: [''], resources: ['events'], verbs: ['create'] },
      ],
      own: [
        { apiGroups: [''], resources: ['configmaps'], resourceNames: ['sidelock-trust'], verbs: ['get', 'watch'] },
        { apiGroups: [''], resources: ['secrets'], resourceNames: [`${NAME}-ca`], verbs: ['get', 'watch', 'update'] },
        { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
      ],
    }),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named,
      spec: {
        selector: selector('webhook'),
        ports: [{ name: 'webhook', port: 443, targetPort: 8443 }],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named,
      spec: {
        replicas: 2,
        selector: { matchLabels: selector('webhook') },
        template: pod(
          'webhook',
          NAME,
          {
            image: sidecarImage,
            args: ['webhook'],
            env: variables({
              MTLS_NAMESPACE: namespace,
              MTLS_TRUST_DOMAIN: trustDomain,
              MTLS_MANAGER: `https://sidelock-manager.${namespace}.svc:9443`,
              MTLS_SIDECAR_IMAGE: sidecarImage,
              ...(podCertificates ? { MTLS_SIDECAR_IDENTITY: 'podCertificate' } : {}),
            }),
            ports: [
              { name: 'webhook', containerPort: 8443 },
              { name: 'health', containerPort: 8081 },
            ],
            // The API server is led to a pod for a moment after it began to end, and takes no answer for a yes.
            lifecycle: { preStop: { sleep: { seconds: 5 } } },
            readinessProbe: probe('/readyz', 'health', { periodSeconds: 2, timeoutSeconds: 5 }),
            livenessProbe: probe('/healthz', 'health', {
              initialDelaySeconds: 10,
              periodSeconds: 10,
              timeoutSeconds: 5,
            }),
            resources: { requests: { cpu: '20m', memory: '128Mi' }, limits: { memory: '256Mi' } },
          },
          {
            affinity: {
              podAntiAffinity: {
                preferredDuringSchedulingIgnoredDuringExecution: [
                  {
                    weight: 100,
                    podAffinityTerm: {
                      topologyKey: 'kubernetes.io/hostname',
                      labelSelector: { matchLabels: selector('webhook') },
                    },
                  },
                ],
              },
            },
          },
        ),
      },
    },
    {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: named,
      spec: { maxUnavailable: 1, selector: { matchLabels: selector('webhook') } },
    },
    networkPolicy(NAME, 'webhook', namespace, 8443, 8081),
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: metadata(NAME, 'webhook'),
      webhooks: [
        // A namespace that is in, but for pods that opt out; and pods that opt in, in namespaces that say nothing.
        entry('namespaces', { namespace, failurePolicy }, { operator: 'In', values: ['enabled'] }, 'NotIn', 'disabled'),
        entry('pods', { namespace, failurePolicy }, { operator: 'DoesNotExist' }, 'In', 'enabled'),
      ],
    },
    ...(requireSidecar ? sidecarRequired(namespace) : []),
  ];
}

const NEW_PODS = {
  operations: ['CREATE'],
  apiGroups: [''],
  apiVersions: ['v1'],
  resources: ['pods'],
  scope: 'Namespaced',
};
const NOT_OF_A_NODE = {
  name: 'not-of-a-node',
  expression: `!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)`,
};

function namespaces(own: string, labelled: Json): Json {
  const never = ['kube-system', 'kube-public', 'kube-node-lease', own];
  return {
    matchExpressions: [
      { key: INJECT_LABEL, ...labelled },
      { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: never },
    ],
  };
}

/** Judged by the API server itself, so that it holds while no webhook answers, and for what the webhook refused. */
function sidecarRequired(namespace: string): Json[] {
  const group = { apiVersion: 'admissionregistration.k8s.io/v1' };
  const name = 'sidelock-require-sidecar';
  const disabled = { matchExpressions: [{ key: INJECT_LABEL, operator: 'NotIn', values: ['disabled'] }] };
  return [
    {
      ...group,
      kind: 'ValidatingAdmissionPolicy',
      metadata: metadata(name, 'webhook'),
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: {
          resourceRules: [NEW_PODS],
          namespaceSelector: namespaces(namespace, { operator: 'In', values: ['enabled'] }),
          objectSelector: disabled,
        },
        matchConditions: [NOT_OF_A_NODE],
        validations: [
          {
            expression: `has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name == '${CONTAINER}')`,
            message: `it has no sidecar: annotate it with ${DOMAIN}/inbound or upstreams, look at the warnings of the webhook, or label it ${INJECT_LABEL}: disabled`,
          },
        ],
      },
    },
    {
      ...group,
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: metadata(name, 'webhook'),
      spec: { policyName: name, validationActions: ['Deny'] },
    },
  ];
}

/** The caBundle is left out on purpose: the webhook writes its own, and whoever applies this again leaves it alone. */
function entry(
  name: string,
  { namespace, failurePolicy }: Pick<InstallOptions, 'namespace' | 'failurePolicy'>,
  ofNamespace: Json,
  operator: 'In' | 'NotIn',
  value: string,
): Json {
  return {
    name: `${name}.${DOMAIN}`,
    admissionReviewVersions: ['v1'],
    clientConfig: { service: { name: NAME, namespace, path: '/mutate', port: 443 } },
    rules: [NEW_PODS],
    namespaceSelector: namespaces(namespace, ofNamespace),
    objectSelector: { matchExpressions: [{ key: INJECT_LABEL, operator, values: [value] }] },
    matchConditions: [NOT_OF_A_NODE],
    failurePolicy,
    matchPolicy: 'Equivalent',
    reinvocationPolicy: 'IfNeeded',
    sideEffects: 'NoneOnDryRun',
    timeoutSeconds: 5,
  };
}
