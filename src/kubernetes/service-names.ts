import { type Clock, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { KubeApi } from './client.ts';
import { listAll } from './list.ts';
import { isObject, type Json, textOf } from './names.ts';

/** More than a pod has. */
const MAX_SERVICES = 32;

/**
 * Names of the Services of its namespace that select a pod, in those spellings that mean one Service in the whole cluster:
 * whoever may make a Service in some namespace must not get the name that others call one of theirs by. A Service selects
 * by labels; one without selector selects nothing, though an empty selector elsewhere means all.
 */
export function serviceNames(services: readonly Json[], namespace: string, { metadata }: Json): string[] {
  const labels = isObject(metadata) && isObject(metadata['labels']) ? metadata['labels'] : {};
  return services
    .filter(({ spec }) => {
      const selector = Object.entries(isObject(spec) && isObject(spec['selector']) ? spec['selector'] : {});
      const external = textOf(spec, 'type') === 'ExternalName';
      return !external && selector.length > 0 && selector.every(([key, value]) => labels[key] === value);
    })
    .map((service) => textOf(service['metadata'], 'name'))
    .sort()
    .slice(0, MAX_SERVICES)
    .flatMap((name) => [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`]);
}

interface FollowOptions {
  readonly api: Pick<KubeApi, 'get'>;
  /** Certificates of pods that are in use. */
  readonly certificates: () => readonly InventoryEntry[];
  /** Told which of them have other names than their pods should have; those that are told no more have been put right. */
  readonly renewEarly: (serials: ReadonlySet<string>) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const EVERY_MS = 10 * SECOND;
const AT_ONCE = 8;

/**
 * Looks whether Services have changed, and then at the pods of their namespaces, whose certificates name them. Resolves
 * when the signal aborts.
 */
export async function followServices(options: FollowOptions): Promise<void> {
  const { api, certificates, renewEarly, clock, log, signal } = options;
  let known = new Map<string, string>();
  let due = new Set<string>();
  let failed = false;
  const look = async () => {
    const services = Map.groupBy(await listAll(api, '/api/v1/services'), ({ metadata }) =>
      textOf(metadata, 'namespace'),
    );
    const now = new Map([...services].map(([namespace, all]) => [namespace, fingerprint(all)]));
    const all = certificates();
    const changed = all.filter(({ namespace }) => now.get(namespace) !== known.get(namespace));
    const inUse = new Set(all.map(({ serial }) => serial));
    const next = new Set([...due].filter((serial) => inUse.has(serial)));
    for (let i = 0; i < changed.length; i += AT_ONCE) {
      await Promise.all(
        changed.slice(i, i + AT_ONCE).map(async (entry) => {
          const isRight = await hasItsNames(api, entry, services.get(entry.namespace) ?? []);
          if (isRight) next.delete(entry.serial);
          else next.add(entry.serial);
        }),
      );
    }
    // Only now: what could not be looked at is looked at again.
    known = now;
    due = next;
    renewEarly(due);
    if (changed.length > 0 && due.size > 0) {
      log.info({ event: 'services_changed', certificates: due.size }, `${due.size} pods have other Services now`);
    }
  };
  try {
    for (;;) {
      try {
        await look();
        failed = false;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        const fields = { event: 'services_unknown', code: error.code, why: error.why };
        if (!failed) log.warn(fields, `changes of Services are not seen: ${error.message}`);
        failed = true;
      }
      await clock.sleep(EVERY_MS, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
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
  const parts = services.map(({ metadata, spec }) => {
    const { selector, type } = isObject(spec) ? spec : {};
    return JSON.stringify([textOf(metadata, 'name'), type, selector]);
  });
  return parts.sort().join('\n');
}
