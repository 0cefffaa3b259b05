/** Domain of every label and annotation of ours. */
export const DOMAIN = 'certificate.ai-teddy.com';
/** Label of namespaces and pods: `enabled` asks for sidecars, `disabled` for none. */
export const INJECT_LABEL = `${DOMAIN}/inject`;
/** Audience of the ServiceAccount tokens that pods show the manager: good for nothing else, and no other is good for it. */
export const AUDIENCE = `${DOMAIN}/ca`;
/** Signer of the pod certificates that kubelet asks for. */
export const SIGNER = `${DOMAIN}/identity`;
/** ClusterTrustBundle with the roots; the API server wants its signer before the colon. */
export const TRUST_BUNDLE = `${DOMAIN}:identity:bundle`;
/** Name of the container that injection adds. */
export const CONTAINER = 'sidelock';
/** Name of the volume with its identity. */
export const VOLUME = 'sidelock-identity';
/** Name of the volume with the token that gets it. */
export const TOKEN_VOLUME = 'sidelock-token';
/** Where the identity is mounted in the sidecar, and nowhere else. */
export const IDENTITY_DIRECTORY = '/var/run/sidelock/identity';
/** Where the sidecar of a pod keeps what is its own. */
export const OWN_DIRECTORY = '/var/run/sidelock';
/** Where Kubernetes puts the token for its own API into each container that has nothing there: a sidecar has no use for it. */
export const TOKEN_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';
/** User and group of the sidecar: not root, and no user of an app's image. */
export const SIDECAR_UID = 65_532;
/** What kubelet asks: health alone, on every address of the pod. */
export const HEALTH_PORT = 15_021;
/** The endpoints that only the pod's own containers reach. */
export const ADMIN_PORT = 15_020;
/** Where the first upstream without a port of its own is found; the next ones follow. */
export const FIRST_UPSTREAM_PORT = 15_101;

/** Label of what the manager wrote, and may write again. */
export const MANAGED_BY = { label: `${DOMAIN}/managed-by`, value: 'mtls-manager' } as const;

/** The Secret that holds the certificate of a service. */
export function secretName(service: string): string {
  return `${service}-mtls-certs`;
}

/** An object as it stands in a manifest: nothing about it is known until it was looked at. */
export type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a list; nothing of what is none. */
export function objects(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

export function textOf(object: unknown, key: string): string {
  const value = isObject(object) ? object[key] : undefined;
  return typeof value === 'string' ? value : '';
}
