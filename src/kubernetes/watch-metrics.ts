import type { Cell, Metrics } from '../base/metrics.ts';
import type { WatchEvent } from './client.ts';

/** What is watched: a label of metrics, so the list is closed. */
export type Watched =
  | 'services'
  | 'podcertificaterequests'
  | 'mutatingwebhookconfigurations'
  | 'secrets'
  | 'configmaps'
  | 'clustertrustbundles'
  | 'leases';

/**
 * Why a watch ended, or none began: its time was over, its connection broke or said nothing; its version was too old (410),
 * there is no right or no such kind, the API server is busy (429) or in trouble itself, or nothing answers.
 */
export type WatchEnd = 'ended' | 'broken' | 'silent' | 'gone' | 'refused' | 'busy' | 'failed' | 'unreachable';

/** Handles on the metrics of all watches of a process. */
export interface WatchMetrics {
  events(resource: Watched, type: WatchEvent['type']): Cell;
  ends(resource: Watched, reason: WatchEnd): Cell;
  open(resource: Watched): Cell;
  objects(resource: Watched): Cell;
}

export function createWatchMetrics(metrics: Metrics): WatchMetrics {
  const events = metrics.counter(
    'sidelock_watch_events_total',
    'What the API server told of objects, by what it was.',
    ['resource', 'type'],
  );
  const ends = metrics.counter(
    'sidelock_watch_ends_total',
    'Ends of watches by reason; gone is 410, after which the list is read again.',
    ['resource', 'reason'],
  );
  const open = metrics.gauge('sidelock_watch_open', '1 while changes are told as they happen, else 0.', ['resource']);
  const objects = metrics.gauge('sidelock_watch_objects', 'Objects that are followed.', ['resource']);
  return {
    events: (resource, type) => events.with({ resource, type: type.toLowerCase() }),
    ends: (resource, reason) => ends.with({ resource, reason }),
    open: (resource) => open.with({ resource }),
    objects: (resource) => objects.with({ resource }),
  };
}
