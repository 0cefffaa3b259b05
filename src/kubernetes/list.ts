import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { KubeApi } from './client.ts';
import { type Json, objects, textOf } from './names.ts';

const PAGE = 500;
const MOST_TRIES = 3;

/** Of every cluster: one that does not know them is no API server that should be believed that there are none. */
const ALWAYS_THERE = /^\/(?:api|apis\/apps)\/v1\//;

/** All objects there are at one moment; none where the API server knows no such kind. @throws SL-KUBE-001, SL-KUBE-002 */
export async function listAll(
  api: Pick<KubeApi, 'get'>,
  path: string,
  labelSelector?: string,
  limit = PAGE,
): Promise<Json[]> {
  return (await listAt(api, path, labelSelector === undefined ? {} : { labelSelector }, limit)).items;
}

interface Listed {
  readonly items: Json[];
  /** Of that moment: from it on a watch tells what changes. Empty where the API server knows no such kind. */
  readonly version: string;
}

/** As `listAll`, and when that was. @throws SL-KUBE-001, SL-KUBE-002 */
export async function listAt(
  api: Pick<KubeApi, 'get'>,
  path: string,
  selectors: Readonly<Record<string, string>>,
  limit = PAGE,
): Promise<Listed> {
  for (let tries = 0; ; tries++) {
    try {
      return await pages(api, path, selectors, limit);
    } catch (error) {
      // The next page of a list is kept for a few minutes, and its kind may go meanwhile.
      const isHalf = isSidelockError(error, 'SL-KUBE-002') && [404, 410].includes(Number(error.data['kubernetes']));
      if (!isHalf || tries === MOST_TRIES) throw error;
    }
  }
}

async function pages(
  api: Pick<KubeApi, 'get'>,
  path: string,
  selectors: Readonly<Record<string, string>>,
  limit: number,
): Promise<Listed> {
  const items: Json[] = [];
  let next = '';
  let version = '';
  do {
    const query = new URLSearchParams({ limit: String(limit), ...selectors });
    if (next !== '') query.set('continue', next);
    const page = await api.get(`${path}?${query}`);
    if (page === undefined && (next !== '' || ALWAYS_THERE.test(path))) throw unknownKind(path);
    items.push(...objects(page?.['items']));
    next = textOf(page?.['metadata'], 'continue');
    version = textOf(page?.['metadata'], 'resourceVersion');
  } while (next !== '');
  return { items, version };
}

/** For who knows that it should be there. */
export function unknownKind(path: string): SidelockError {
  const why = 'the API server says that it knows no such kind';
  return new SidelockError('SL-KUBE-002', `cannot GET ${path}: 404`, { why, data: { kubernetes: 404 } });
}
