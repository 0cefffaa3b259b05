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
  for (let tries = 0; ; tries++) {
    try {
      return await pages(api, path, labelSelector, limit);
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
  labelSelector: string | undefined,
  limit: number,
): Promise<Json[]> {
  const all: Json[] = [];
  let next = '';
  do {
    const query = new URLSearchParams({ limit: String(limit) });
    if (labelSelector !== undefined) query.set('labelSelector', labelSelector);
    if (next !== '') query.set('continue', next);
    const page = await api.get(`${path}?${query}`);
    all.push(...objects(page?.['items']));
    next = textOf(page?.['metadata'], 'continue');
  } while (next !== '');
  return all;
}
