import t from 'tap';
import { listAll } from '../../../src/kubernetes/list.ts';
import type { Json } from '../../../src/kubernetes/names.ts';

const page = (name: string, next = ''): Json => ({
  metadata: { resourceVersion: '7', continue: next },
  items: [{ metadata: { name } }],
});

/** Gives these, one after the other; undefined is a 404. */
function answering(...pages: ReadonlyArray<Json | undefined>) {
  const asked: string[] = [];
  const get = async (path: string) => {
    asked.push(new URL(path, 'http://x').searchParams.get('continue') ?? 'first');
    return pages[asked.length - 1];
  };
  return { api: { get }, asked };
}

const PARTS = '/apis/example.com/v1/parts';

t.test('a kind that the cluster does not have has no objects', async (t) => {
  t.same(await listAll(answering(undefined).api, PARTS), []);
});

t.test('but a cluster without Secrets, pods or Deployments is none: something else answered', async (t) => {
  for (const path of ['/api/v1/namespaces/n/secrets', '/api/v1/pods', '/apis/apps/v1/deployments']) {
    await t.rejects(listAll(answering(undefined).api, path), { code: 'SL-KUBE-002', data: { kubernetes: 404 } }, path);
  }
});

t.test('half a list is no list: after a 404 between two pages it is read from the start', async (t) => {
  const { api, asked } = answering(page('a', 'more'), undefined, page('a', 'more'), page('b'));
  t.equal((await listAll(api, PARTS)).length, 2);
  t.same(asked, ['first', 'more', 'first', 'more']);
  t.same(await listAll(answering(page('a', 'more'), undefined, undefined).api, PARTS), [], 'or is gone with its kind');

  const never = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? page('a', 'more') : undefined));
  await t.rejects(listAll(answering(...never).api, PARTS), { code: 'SL-KUBE-002', data: { kubernetes: 404 } });
});
