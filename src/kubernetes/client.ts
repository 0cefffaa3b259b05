import type { CoreV1Api, V1Secret } from '@kubernetes/client-node';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { isObject, textOf } from './names.ts';

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

export interface WriteOptions {
  /** The API server checks everything and keeps nothing. */
  readonly dryRun: boolean;
}

/** The Secrets of a cluster. @throws SL-KUBE-001, SL-KUBE-002 */
export interface SecretClient {
  /** Undefined where there is none. */
  read(namespace: string, name: string): Promise<Secret | undefined>;
  /** False when one of that name was made meanwhile. */
  create(secret: Secret, options: WriteOptions): Promise<boolean>;
  /** False when it was changed since it was read. */
  replace(secret: Secret, options: WriteOptions): Promise<boolean>;
}

/**
 * The cluster that `KUBECONFIG`, `~/.kube/config` or the ServiceAccount of this pod leads to. The package for it is
 * loaded here and not before.
 */
export async function secretClient(): Promise<SecretClient> {
  const { CoreV1Api, KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  let server: string | undefined;
  let api: CoreV1Api;
  try {
    config.loadFromDefault();
    server = config.getCurrentCluster()?.server;
    api = config.makeApiClient(CoreV1Api);
  } catch (cause) {
    throw new SidelockError('SL-KUBE-001', 'no kubeconfig leads to a Kubernetes API server', { cause });
  }
  const ask = async <T>(what: string, otherwise: ReadonlyMap<number, T>, request: () => Promise<T>): Promise<T> => {
    try {
      return await request();
    } catch (error) {
      const code = statusOf(error);
      if (code !== undefined && otherwise.has(code)) return otherwise.get(code) as T;
      throw failure(what, server, error);
    }
  };
  return {
    read: (namespace, name) =>
      ask<Secret | undefined>(`read Secret ${namespace}/${name}`, new Map([[404, undefined]]), async () =>
        fromApi(await api.readNamespacedSecret({ namespace, name })),
      ),
    create: (secret, options) =>
      ask(`create Secret ${secret.namespace}/${secret.name}`, CONFLICT, async () => {
        await api.createNamespacedSecret({ namespace: secret.namespace, body: toApi(secret), ...flags(options) });
        return true;
      }),
    replace: (secret, options) =>
      ask(`replace Secret ${secret.namespace}/${secret.name}`, CONFLICT, async () => {
        const { namespace, name } = secret;
        await api.replaceNamespacedSecret({ namespace, name, body: toApi(secret), ...flags(options) });
        return true;
      }),
  };
}

const CONFLICT = new Map([[409, false]]);

function flags({ dryRun }: WriteOptions) {
  return { fieldManager: 'sidelock', fieldValidation: 'Strict', ...(dryRun ? { dryRun: 'All' } : {}) };
}

function toApi({ namespace, name, type, labels, data, resourceVersion }: Secret): V1Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name, labels: { ...labels }, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    type,
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
  };
}

function fromApi({ metadata = {}, type = 'Opaque', data = {} }: V1Secret): Secret {
  const { namespace = '', name = '', labels = {}, resourceVersion } = metadata;
  const texts = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()] as const);
  return { namespace, name, type, labels, data: Object.fromEntries(texts), resourceVersion };
}

function statusOf(error: unknown): number | undefined {
  return isObject(error) && typeof error['code'] === 'number' ? error['code'] : undefined;
}

function failure(what: string, server: string | undefined, error: unknown): SidelockError {
  const status = statusOf(error);
  if (status === undefined) {
    const inner = nodeCode(isObject(error) ? error['cause'] : undefined) ?? nodeCode(error);
    const why = inner === undefined ? undefined : `the system says ${inner}`;
    return new SidelockError('SL-KUBE-001', `cannot ${what} at ${server ?? 'an unknown server'}`, {
      why,
      cause: error,
    });
  }
  // The body is a Status object, which says verb, resource and account.
  const body = isObject(error) ? error['body'] : undefined;
  const why = textOf(typeof body === 'string' ? parsed(body) : body, 'message') || `status ${status}`;
  return new SidelockError('SL-KUBE-002', `cannot ${what}: ${status}`, { why, data: { status }, cause: error });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
