import type { Wanted } from './annotations.ts';
import {
  ADMIN_PORT,
  AUDIENCE,
  CONTAINER,
  HEALTH_PORT,
  IDENTITY_DIRECTORY,
  type Json,
  OWN_DIRECTORY,
  SIDECAR_UID,
  SIGNER,
  secretName,
  TOKEN_DIRECTORY,
  TOKEN_VOLUME,
  TRUST_BUNDLE,
  VOLUME,
} from './names.ts';

interface ManagerReference {
  /** `https://host:port` */
  readonly address: string;
  /** SHA-256 of the roots it may show, hex. */
  readonly roots: readonly string[];
}

/** What the operator decides for all pods. */
export interface InjectSettings {
  readonly image: string;
  readonly trustDomain: string;
  readonly logLevel: string;
  /** Where sidecars get their certificate with the token of their pod; the Secret of the service unless given. */
  readonly manager?: ManagerReference | undefined;
  /** Kubelet gets the certificate, and the sidecar needs neither token nor manager. */
  readonly podCertificates?: boolean;
  /** Version of sidelock, noted in the pod. */
  readonly version: string;
}

/** The sidecar as a native sidecar: it is ready before the app starts and ends after it. */
export function sidecarContainer(
  wanted: Wanted,
  { service, probes }: { readonly service: string; readonly probes: readonly object[] },
  settings: InjectSettings,
): Json {
  return {
    name: CONTAINER,
    image: wanted.image ?? settings.image,
    args: ['sidecar'],
    restartPolicy: 'Always',
    env: [
      ...environment(wanted, service, settings),
      ...(probes.length === 0 ? [] : [{ name: 'MTLS_PROBES', value: JSON.stringify(probes) }]),
    ],
    ports: [...wanted.inbound.map(({ listen }) => listen), HEALTH_PORT].map((containerPort) => ({ containerPort })),
    startupProbe: { ...probe('/readyz'), periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 10 },
    lifecycle: { preStop: { exec: { command: LEAVE } } },
    resources: resources(wanted),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsGroup: SIDECAR_UID,
      runAsNonRoot: true,
      runAsUser: SIDECAR_UID,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: !usesToken(settings)
      ? [{ name: VOLUME, mountPath: IDENTITY_DIRECTORY, readOnly: true }]
      : [
          { name: VOLUME, mountPath: OWN_DIRECTORY },
          { name: TOKEN_VOLUME, mountPath: TOKEN_DIRECTORY, readOnly: true },
        ],
  };
}

/** Runs as the pod's end begins, while the app still serves: the end of a sidecar comes after that of its app. */
const LEAVE = [
  '/usr/local/bin/node',
  '-e',
  `fetch('http://127.0.0.1:${ADMIN_PORT}/leave', { method: 'POST', headers: { 'x-sidelock': '1' } })`,
];

/** The Secret of the service, which is not optional: a pod without identity waits, and says for what. Or a place for its own. */
export function identityVolumes(service: string, settings: InjectSettings): Json[] {
  if (settings.podCertificates === true) {
    const podCertificate = {
      signerName: SIGNER,
      keyType: 'ECDSAP256',
      credentialBundlePath: BUNDLE_FILE,
      maxExpirationSeconds: LONGEST_S,
    };
    const clusterTrustBundle = { name: TRUST_BUNDLE, path: ROOTS_FILE };
    const sources = [{ podCertificate }, { clusterTrustBundle }];
    return [{ name: VOLUME, projected: { sources, defaultMode: 0o400 } }];
  }
  if (!usesToken(settings)) {
    return [{ name: VOLUME, secret: { secretName: secretName(service), defaultMode: 0o400 } }];
  }
  const serviceAccountToken = { audience: AUDIENCE, expirationSeconds: 3600, path: 'token' };
  return [
    // In memory: the key is on no disk, and is there again when the container is.
    { name: VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    { name: TOKEN_VOLUME, projected: { sources: [{ serviceAccountToken }] } },
  ];
}

/** Whether the sidecar gets its certificate itself. */
export function usesToken({ manager, podCertificates }: InjectSettings): boolean {
  return manager !== undefined && podCertificates !== true;
}

const BUNDLE_FILE = 'credentials.pem';
const ROOTS_FILE = 'ca.pem';
/** The manager decides, within this: more than the 7 days of its config. */
const LONGEST_S = 8 * 86_400;

/** How the app finds its upstreams. */
export function appVariables({
  upstreams,
  protocol,
}: Wanted): Array<{ readonly name: string; readonly value: string }> {
  const named = upstreams.filter(({ variable }) => variable !== '');
  return named.flatMap(({ variable, at, listen }) => [
    { name: `${variable}_MTLS_HOST`, value: at },
    { name: `${variable}_MTLS_PORT`, value: String(listen) },
    { name: `${variable}_MTLS_URL`, value: `${protocol === 'tcp' ? 'tcp' : 'http'}://${at}:${listen}` },
  ]);
}

/** The config of the sidecar, key by key: `sidelock config schema Sidecar` explains them. */
function environment(wanted: Wanted, service: string, settings: InjectSettings): Json[] {
  const { inbound, upstreams, allow, protocol, mode } = wanted;
  const values: Record<string, string> = {
    MTLS_SERVICE: service,
    MTLS_TRUST_DOMAIN: settings.trustDomain,
    ...identityOf(settings),
    MTLS_ADMIN_LISTEN: `127.0.0.1:${ADMIN_PORT}`,
    MTLS_HEALTH: `0.0.0.0:${HEALTH_PORT}`,
    MTLS_LOG_LEVEL: wanted.logLevel ?? settings.logLevel,
  };
  if (inbound.length > 0) {
    values['MTLS_INBOUND'] = JSON.stringify(
      inbound.map(({ listen, target }) => ({
        listen: `0.0.0.0:${listen}`,
        target,
        protocol,
        allow,
        ...(mode === 'strict' ? {} : { mode }),
      })),
    );
  }
  if (upstreams.length > 0) {
    values['MTLS_OUTBOUND'] = JSON.stringify(
      upstreams.map(({ name, at, listen, host, port, service: peer }) => ({
        ...(name === undefined ? {} : { name }),
        listen: `${at}:${listen}`,
        service: peer,
        address: `${host}:${port}`,
        protocol,
      })),
    );
  }
  // The hosts file of the pod leads back to the sidecar.
  if (wanted.hostAliases) values['MTLS_DNS_HOSTS_FILE'] = 'off';
  return [
    // First: names of upstreams may refer to it.
    { name: 'MTLS_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
    ...Object.entries(values).map(([name, value]) => ({ name, value })),
  ];
}

function identityOf({ manager, podCertificates }: InjectSettings): Record<string, string> {
  if (podCertificates === true) {
    return {
      MTLS_IDENTITY_SOURCE: 'bundle',
      MTLS_IDENTITY_FILE: `${IDENTITY_DIRECTORY}/${BUNDLE_FILE}`,
      MTLS_IDENTITY_CA: `${IDENTITY_DIRECTORY}/${ROOTS_FILE}`,
    };
  }
  if (manager === undefined) return { MTLS_IDENTITY_SOURCE: 'files', MTLS_IDENTITY_DIRECTORY: IDENTITY_DIRECTORY };
  return {
    MTLS_IDENTITY_SOURCE: 'kubernetes',
    MTLS_IDENTITY_DIRECTORY: IDENTITY_DIRECTORY,
    MTLS_IDENTITY_ADDRESS: manager.address,
    MTLS_IDENTITY_ROOTS: manager.roots.map((root) => `sha256:${root}`).join(','),
    MTLS_IDENTITY_TOKEN_FILE: `${TOKEN_DIRECTORY}/token`,
  };
}

function probe(path: string): Json {
  return { httpGet: { path, port: HEALTH_PORT }, timeoutSeconds: 5 };
}

function resources({ resources: wanted }: Wanted): Json {
  const requests = { cpu: wanted.get('cpu-request') ?? '10m', memory: wanted.get('memory-request') ?? '64Mi' };
  const limits = { cpu: wanted.get('cpu-limit'), memory: wanted.get('memory-limit') ?? '256Mi' };
  return { requests, limits: limits.cpu === undefined ? { memory: limits.memory } : limits };
}
