import { type Clock, MINUTE } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { InjectionEvent } from './admission.ts';
import type { KubeApi } from './client.ts';

interface EventsOptions {
  readonly api: Pick<KubeApi, 'create'>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Events {
  /** Says the same of one owner once in ten minutes. Never fails: what cannot be told is logged. */
  tell(event: InjectionEvent): void;
  /** Resolves when all is told. */
  ended(): Promise<void>;
}

const REPEAT_MS = 10 * MINUTE;
const MAX_REMEMBERED = 1_000;

/** Events of Kubernetes on the owners of pods: with a Deployment nobody sees the warnings of an admission. */
export function createEvents({ api, clock, log }: EventsOptions): Events {
  const told = new Map<string, number>();
  const sending = new Set<Promise<void>>();

  const send = async ({ namespace, owner, reason, message }: InjectionEvent) => {
    const at = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    try {
      await api.create(`/api/v1/namespaces/${namespace}/events`, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { generateName: 'sidelock-', namespace },
        involvedObject: { ...owner, namespace },
        type: 'Warning',
        reason,
        message: message.slice(0, 1_000),
        source: { component: 'sidelock' },
        count: 1,
        firstTimestamp: at,
        lastTimestamp: at,
      });
    } catch (error) {
      log.warn(
        { event: 'event_not_told', err: error },
        `cannot put an Event on ${owner.kind} ${namespace}/${owner.name}`,
      );
    }
  };

  return {
    tell(event) {
      const key = `${event.owner.uid} ${event.message}`;
      const now = clock.now();
      const last = told.get(key);
      if (last !== undefined && now - last < REPEAT_MS) return;
      told.delete(key);
      told.set(key, now);
      for (const oldest of told.keys()) {
        if (told.size <= MAX_REMEMBERED) break;
        told.delete(oldest);
      }
      const one = send(event).finally(() => sending.delete(one));
      sending.add(one);
    },
    async ended() {
      await Promise.all(sending);
    },
  };
}
