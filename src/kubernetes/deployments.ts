import { SidelockError } from '../base/errors.ts';
import type { KubeApi, WriteOptions } from './client.ts';
import { jsonPatch } from './json-patch.ts';
import { isObject, type Json, objects, secretName, textOf } from './names.ts';

/** What a write did, or under a dry run would do. */
export interface Change {
  readonly outcome: 'created' | 'updated' | 'unchanged';
  /** RFC 6902, from what was there to what is there now. */
  readonly diff: ReadonlyArray<{ readonly op: string; readonly path: string }>;
}

interface ServiceName {
  readonly service: string;
  readonly namespace: string;
}

const VOLUME = 'mtls-certs';
const FILES = { 'tls.crt': 'cert.pem', 'tls.key': 'key.pem', 'ca.crt': 'ca.pem' } as const;

/**
 * Mounts the Secret of a service into every container of the Deployment of its name, at
 * `/etc/ssl/ai-teddy/<service>/{cert,key,ca}.pem`, and says so in `MTLS_CERT_FILE`, `MTLS_KEY_FILE`, `MTLS_CA_FILE`.
 * Server-side apply: no other field is touched, and one that somebody else has is a conflict. Safe to run again.
 * @throws SL-KUBE-001, SL-KUBE-002
 */
export async function updateDeploymentWithMtls(
  api: Pick<KubeApi, 'get' | 'apply'>,
  { service, namespace }: ServiceName,
  options: WriteOptions = {},
): Promise<Change> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${service}`;
  const before = await api.get(path);
  if (before === undefined) {
    const what = `there is no Deployment ${namespace}/${service}`;
    throw new SidelockError('SL-KUBE-002', what, { fix: 'deploy the service first', data: { kubernetes: 404 } });
  }
  const template = isObject(before['spec']) ? before['spec']['template'] : undefined;
  const spec = isObject(template) ? template['spec'] : undefined;
  const directory = `/etc/ssl/ai-teddy/${service}`;
  const env = [
    { name: 'MTLS_CERT_FILE', value: `${directory}/cert.pem` },
    { name: 'MTLS_KEY_FILE', value: `${directory}/key.pem` },
    { name: 'MTLS_CA_FILE', value: `${directory}/ca.pem` },
  ];
  const volumeMounts = [{ name: VOLUME, mountPath: directory, readOnly: true }];
  const containers = objects(isObject(spec) ? spec['containers'] : undefined).map((container) => ({
    name: textOf(container, 'name'),
    env,
    volumeMounts,
  }));
  const items = Object.entries(FILES).map(([key, file]) => ({ key, path: file }));
  const volumes = [{ name: VOLUME, secret: { secretName: secretName(service), items } }];
  const wanted = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: service, namespace },
    spec: { template: { spec: { containers, volumes } } },
  };
  return change(before, await api.apply(path, wanted, options));
}

/** Compares what the server had with what it has, without what it counts for itself. */
export function change(before: Json | undefined, after: Json | undefined): Change {
  const diff = jsonPatch(bare(before ?? {}), bare(after ?? {}));
  return { outcome: before === undefined ? 'created' : diff.length === 0 ? 'unchanged' : 'updated', diff };
}

function bare({ status: _, ...object }: Json): Json {
  if (!isObject(object['metadata'])) return object;
  const {
    managedFields: _fields,
    resourceVersion: _version,
    generation: _generation,
    ...metadata
  } = object['metadata'];
  return { ...object, metadata };
}
