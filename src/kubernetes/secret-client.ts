import type { KubeApi, WriteOptions } from './client.ts';
import { isObject, type Json, textOf } from './names.ts';

/** A Secret as we write it. Values are not encoded. */
export interface Secret {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
  /** Of the version that was read; writing over another one is a conflict. */
  readonly resourceVersion?: string | undefined;
}

/** The Secrets of a cluster. @throws SL-KUBE-001, SL-KUBE-002 */
export interface SecretClient {
  /** Undefined where there is none. */
  read(namespace: string, name: string): Promise<Secret | undefined>;
  /** False when one of that name was made meanwhile. */
  create(secret: Secret, options?: WriteOptions): Promise<boolean>;
  /** False when it was changed since it was read. */
  replace(secret: Secret, options?: WriteOptions): Promise<boolean>;
}

export function secretClient(api: KubeApi): SecretClient {
  const all = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;
  return {
    async read(namespace, name) {
      const found = await api.get(`${all(namespace)}/${name}`);
      return found === undefined ? undefined : fromApi(found);
    },
    create: async (secret, options) => (await api.create(all(secret.namespace), toApi(secret), options)) !== undefined,
    replace: async (secret, options) =>
      (await api.replace(`${all(secret.namespace)}/${secret.name}`, toApi(secret), options)) !== undefined,
  };
}

function toApi({ namespace, name, type, labels, data, resourceVersion }: Secret): Json {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name, labels, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    type,
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
  };
}

function fromApi({ metadata, type, data }: Json): Secret {
  const decode = (value: unknown) => Buffer.from(String(value), 'base64').toString();
  return {
    namespace: textOf(metadata, 'namespace'),
    name: textOf(metadata, 'name'),
    type: typeof type === 'string' ? type : 'Opaque',
    labels: texts(isObject(metadata) ? metadata['labels'] : undefined, String),
    data: texts(data, decode),
    resourceVersion: textOf(metadata, 'resourceVersion'),
  };
}

function texts(map: unknown, read: (value: unknown) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(isObject(map) ? map : {}).map(([key, value]) => [key, read(value)]));
}
