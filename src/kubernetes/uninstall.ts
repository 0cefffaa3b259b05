import type { Clock } from '../base/clock.ts';
import { SECOND } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import type { KubeApi } from './client.ts';
import { type Dependant, findDependants, findOwn, type Own } from './remains.ts';

/** What stands between a cluster and nothing of sidelock in it. */
export interface Uninstallation {
  readonly dependants: readonly Dependant[];
  /** In the order in which it goes. */
  readonly own: readonly Own[];
}

interface UninstallOptions {
  readonly api: Pick<KubeApi, 'get' | 'remove'>;
  /** Where manager and webhook run. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Milliseconds until it gives up. */
  readonly timeoutMs: number;
  /** Told whenever it is another one that is waited for. */
  readonly onWait: (what: string) => void;
}

/** Looks, and changes nothing. @throws SL-KUBE-001, SL-KUBE-002 */
export async function planUninstall(api: Pick<KubeApi, 'get'>, namespace: string): Promise<Uninstallation> {
  const [dependants, phases] = await Promise.all([findDependants(api, namespace), findOwn(api, namespace)]);
  return { dependants, own: phases.flat() };
}

/**
 * Takes away all that is ours: first what gives pods a sidecar, then, once nobody depends on the rest, the rest. Nothing
 * of anybody else is changed; whoever depends is waited for. Returns how many objects went.
 * @throws SL-KUBE-005 when the time is over, SL-KUBE-001, SL-KUBE-002
 */
export async function uninstall({ api, namespace, clock, signal, timeoutMs, onWait }: UninstallOptions) {
  const until = clock.now() + timeoutMs;
  const removed = new Set<string>();
  let told = '';
  const wait = async (what: string, lines: readonly string[]) => {
    if (clock.now() >= until) {
      throw new SidelockError('SL-KUBE-005', `sidelock is not gone: ${what}`, { why: lines.slice(0, 20).join('; ') });
    }
    if (what !== told) onWait(what);
    told = what;
    await clock.sleep(EVERY_MS, signal);
  };
  for (;;) {
    const [first = [], ...later] = await findOwn(api, namespace);
    await removeAll(api, first, removed);
    const dependants = await findDependants(api, namespace);
    if (dependants.length > 0) {
      await wait(
        `${dependants.length} still depend on it`,
        dependants.map((one) => `${one.kind} ${one.namespace}/${one.name}: ${one.fix}`),
      );
      continue;
    }
    const phase = later.find((objects) => objects.length > 0) ?? [];
    if (phase.length === 0 && first.length === 0) return removed.size;
    const isWaiting = phase.every(({ path, leaves }) => leaves || removed.has(path));
    await removeAll(api, phase, removed);
    if (isWaiting && phase.length > 0) {
      await wait(
        `${phase.length} objects are ending`,
        phase.map(({ kind, name }) => `${kind} ${name}`),
      );
    }
  }
}

const EVERY_MS = SECOND;

/** Again what somebody made again. */
async function removeAll(api: Pick<KubeApi, 'remove'>, objects: readonly Own[], removed: Set<string>): Promise<void> {
  for (const { path, leaves } of objects) {
    if (leaves) continue;
    await api.remove(path);
    removed.add(path);
  }
}
