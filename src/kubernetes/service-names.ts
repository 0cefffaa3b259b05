import { type Clock, SECOND } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { backoffDelay } from '../base/retry.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { KubeApi } from './client.ts';
import { isObject, type Json, textOf } from './names.ts';
import { createBell, forEach, repeat } from './repeat.ts';
import { selects } from './selects.ts';
import { type WatchNeeds, watchObjects } from './watch.ts';

/** More than a pod has. */
const MAX_SERVICES = 32;

/**
 * Names of the Services of its namespace that select a pod, in those spellings that mean one Service in the whole cluster:
 * whoever may make a Service in some namespace must not get the name that others call one of theirs by.
 */
export function serviceNames(services: readonly Json[], namespace: string, { metadata }: Json): string[] {
  const labels = isObject(metadata) ? metadata['labels'] : {};
  return services
    .filter((service) => selects(service, labels))
    .map((service) => textOf(service['metadata'], 'name'))
    .sort()
    .slice(0, MAX_SERVICES)
    .flatMap((name) => [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`]);
}

interface FollowOptions {
  readonly api: Pick<KubeApi, 'get' | 'watch'>;
  readonly watch: WatchNeeds;
  /** Certificates of pods that are in use. */
  readonly certificates: () => readonly InventoryEntry[];
  /** Told which of them have other names than their pods should have; those that are told no more have been put right. */
  readonly renewEarly: (serials: ReadonlySet<string>) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Certificates are new while nothing of Services changes. */
const EVERY_MS = 30 * SECOND;
const RETRY = { min: SECOND, max: 30 * SECOND };
const AT_ONCE = 8;

/**
 * Looks, whenever Services change, at the pods of their namespaces, whose certificates name them; and at that of each new
 * certificate, which may be of what was a moment before. Resolves when the signal aborts.
 */
export async function followServices(options: FollowOptions): Promise<void> {
  const { api, watch, certificates, renewEarly, clock, log, signal } = options;
  const bell = createBell();
  let isListed = false;
  const { known, ended } = watchObjects(
    { resource: 'services', path: '/api/v1/services' },
    {
      ...options,
      ...watch,
      keep: ({ metadata, spec }) => ({ metadata: placeOf(metadata), spec: selectionOf(spec) }),
      onChange() {
        isListed = true;
        bell.ring();
      },
    },
  );
  /** By serial: for which Services it was judged, and how. */
  let judged = new Map<string, { readonly services: string; readonly isRight: boolean }>();
  const look = async () => {
    if (!isListed) return;
    const services = Map.groupBy(known.values(), ({ metadata }) => textOf(metadata, 'namespace'));
    const now = new Map([...services].map(([namespace, all]) => [namespace, fingerprint(all)]));
    const all = certificates();
    judged = new Map(
      all.flatMap(({ serial }) => {
        const before = judged.get(serial);
        return before === undefined ? [] : [[serial, before] as const];
      }),
    );
    const open = all.filter(({ serial, namespace }) => judged.get(serial)?.services !== (now.get(namespace) ?? ''));
    let others = 0;
    try {
      const judge = async (entry: InventoryEntry) => {
        const isRight = await hasItsNames(api, entry, services.get(entry.namespace) ?? []);
        judged.set(entry.serial, { services: now.get(entry.namespace) ?? '', isRight });
        if (!isRight) others++;
      };
      await forEach(open, AT_ONCE, judge, signal);
    } finally {
      renewEarly(new Set([...judged].flatMap(([serial, { isRight }]) => (isRight ? [] : [serial]))));
    }
    if (others > 0)
      log.info({ event: 'services_changed', certificates: others }, `${others} pods have other Services now`);
  };
  const looking = repeat({
    work: look,
    pause: (failures) => (failures === 0 ? EVERY_MS : backoffDelay(failures - 1, RETRY, watch.random)),
    bell,
    onFailure: ({ code, why, message }) =>
      log.warn({ event: 'services_unknown', code, why }, `changes of Services are not seen: ${message}`),
    ...{ clock, signal },
  });
  await Promise.all([ended, looking]);
}

/** A pod that is gone needs no other. */
async function hasItsNames(
  api: Pick<KubeApi, 'get'>,
  { namespace, pod, sans }: InventoryEntry,
  services: readonly Json[],
): Promise<boolean> {
  const found = pod === undefined ? undefined : await api.get(`/api/v1/namespaces/${namespace}/pods/${pod.name}`);
  if (found === undefined || textOf(found['metadata'], 'uid') !== pod?.uid) return true;
  return serviceNames(services, namespace, found).toSorted().join() === sans.toSorted().join();
}

function fingerprint(services: readonly Json[]): string {
  return services
    .map(({ metadata, spec }) => JSON.stringify([textOf(metadata, 'name'), spec]))
    .sort()
    .join('\n');
}

/** What `changes.ts` compares. */
function placeOf(metadata: unknown): Json {
  return Object.fromEntries(['namespace', 'name', 'uid', 'resourceVersion'].map((key) => [key, textOf(metadata, key)]));
}

function selectionOf(spec: unknown): Json {
  const { selector, type } = isObject(spec) ? spec : {};
  return { type, selector };
}
