import { SidelockError } from '../../../src/base/errors.ts';
import type { KubeApi } from '../../../src/kubernetes/client.ts';
import { isObject, type Json, textOf } from '../../../src/kubernetes/names.ts';

/** Of the API server (core/v1 MaxSecretSize). */
const MAX_SECRET = 1 << 20;

/** Objects by path with the rules of the API server for who wins; `before` may throw, or wait, at each call. */
export function fakeObjects(before: (method: string, path: string) => void | Promise<void> = () => {}) {
  const kept = new Map<string, Json>();
  let version = 0;
  const put = (path: string, object: Json): Json => {
    const data = isObject(object['data']) ? Object.values(object['data']) : [];
    const bytes = data.reduce<number>((sum, value) => sum + Buffer.byteLength(String(value), 'base64'), 0);
    if (bytes > MAX_SECRET) throw new SidelockError('SL-KUBE-002', 'too long', { data: { kubernetes: 422 } });
    const metadata = isObject(object['metadata']) ? object['metadata'] : {};
    const next = { ...object, metadata: { ...metadata, resourceVersion: String(++version) } };
    kept.set(path, next);
    return next;
  };
  const versionAt = (path: string) => textOf(kept.get(path)?.['metadata'], 'resourceVersion');
  const api: Pick<KubeApi, 'get' | 'create' | 'replace' | 'remove'> = {
    async get(path) {
      await before('get', path);
      const [at = '', query] = path.split('?');
      if (query === undefined) return kept.get(at);
      const items = [...kept].filter(([name]) => name.startsWith(`${at}/`)).map(([, object]) => object);
      return { kind: 'List', metadata: {}, items };
    },
    async create(path, object) {
      await before('create', path);
      const at = `${path}/${textOf(object['metadata'], 'name')}`;
      return kept.has(at) ? undefined : put(at, object);
    },
    async replace(path, object) {
      await before('replace', path);
      return versionAt(path) === textOf(object['metadata'], 'resourceVersion') && kept.has(path)
        ? put(path, object)
        : undefined;
    },
    async remove(path, wanted) {
      await before('remove', path);
      const found = kept.get(path);
      if (found === undefined || (wanted !== undefined && wanted !== versionAt(path))) return undefined;
      kept.delete(path);
      return found;
    },
  };
  return { api, kept };
}

export function unreachable(): SidelockError {
  return new SidelockError('SL-KUBE-001', 'cannot reach it');
}
