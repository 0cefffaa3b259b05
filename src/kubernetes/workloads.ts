import { isObject, type Json, objects, textOf } from './names.ts';

/** Where the pod stands in each kind that has one. */
const PODS: Readonly<Record<string, readonly string[]>> = {
  'v1/Pod': [],
  'v1/ReplicationController': ['spec', 'template'],
  'apps/v1/Deployment': ['spec', 'template'],
  'apps/v1/ReplicaSet': ['spec', 'template'],
  'apps/v1/StatefulSet': ['spec', 'template'],
  'apps/v1/DaemonSet': ['spec', 'template'],
  'batch/v1/Job': ['spec', 'template'],
  'batch/v1/CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
};

type Edit = (pod: Json, of: string, namespace: string) => Json;

/**
 * The object with each pod in it changed by `edit`, in a `List` too; the object itself when `edit` changed none.
 * @param edit gets the pod or template, `Deployment/NAME`, the object it is of, and its namespace, empty unless it says one
 */
export function editPods(object: Json, edit: Edit): Json {
  const kind = textOf(object, 'kind');
  const items = object['items'];
  if (textOf(object, 'apiVersion') === 'v1' && kind === 'List' && Array.isArray(items)) {
    const edited = items.map((item: unknown) => (isObject(item) ? editPods(item, edit) : item));
    return edited.every((item, at) => item === items[at]) ? object : { ...object, items: edited };
  }
  const path = PODS[`${textOf(object, 'apiVersion')}/${kind}`];
  if (path === undefined) return object;
  const { metadata } = object;
  const of = `${kind}/${textOf(metadata, 'name') || '(no name)'}`;
  return at(object, path, (pod) => edit(pod, of, textOf(metadata, 'namespace')));
}

/** The object itself where it is a Service, or those in a `List`. */
export function servicesIn(object: Json): Json[] {
  const all = textOf(object, 'kind') === 'List' ? objects(object['items']) : [object];
  return all.filter((one) => textOf(one, 'apiVersion') === 'v1' && textOf(one, 'kind') === 'Service');
}

function at(object: Json, [key, ...rest]: readonly string[], edit: (pod: Json) => Json): Json {
  if (key === undefined) return edit(object);
  const inner = object[key];
  if (!isObject(inner)) return object;
  const edited = at(inner, rest, edit);
  return edited === inner ? object : { ...object, [key]: edited };
}
