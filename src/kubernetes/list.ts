import { isSidelockError } from '../base/errors.ts';
import type { KubeApi } from './client.ts';
import { type Json, objects, textOf } from './names.ts';

const PAGE = 500;
const MOST_TRIES = 3;

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
  /** Of that moment: from it on a watch tells what changes. */
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
      // The next page of a list is kept for a few minutes.
      const isTooOld = isSidelockError(error, 'SL-KUBE-002') && error.data['kubernetes'] === 410;
      if (!isTooOld || tries === MOST_TRIES) throw error;
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
    items.push(...objects(page?.['items']));
    next = textOf(page?.['metadata'], 'continue');
    version = textOf(page?.['metadata'], 'resourceVersion');
  } while (next !== '');
  return { items, version };
}
