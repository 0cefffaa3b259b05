import type { KubeApi } from './client.ts';
import { type Json, objects, textOf } from './names.ts';

const PAGE = 500;

/** All objects there are at one moment, page by page; none where the API server knows no such kind. */
export async function listAll(
  api: Pick<KubeApi, 'get'>,
  path: string,
  labelSelector?: string,
  limit = PAGE,
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
