import { type Clock, MINUTE, type Random, SECOND } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { askedToWait, backoffDelay } from '../base/retry.ts';
import { type Change, changeBy, changesTo } from './changes.ts';
import type { KubeApi, WatchEvent } from './client.ts';
import { listAt, unknownKind } from './list.ts';
import { type Json, textOf } from './names.ts';
import type { WatchEnd, Watched, WatchMetrics } from './watch-metrics.ts';

/** What each watch of a process needs. */
export interface WatchNeeds {
  readonly random: Random;
  readonly metrics: WatchMetrics;
  /** How long an open watch may say nothing until it is given up, ms; the API server says something each minute. */
  readonly silenceMs?: number;
}

interface WatchOptions extends WatchNeeds {
  readonly api: Pick<KubeApi, 'get' | 'watch'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Watch {
  /** Whether changes are told as they happen. */
  isOpen(): boolean;
  /** Resolves when the signal aborts; rejects with what nobody expected. */
  readonly ended: Promise<void>;
}

interface Objects extends Watch {
  /** As they were last told. */
  readonly known: ReadonlyMap<string, Json>;
}

interface Followed {
  readonly resource: Watched;
  /** Of all of that kind. */
  readonly path: string;
  readonly fieldSelector?: string;
}

interface ObjectsOptions extends WatchOptions {
  /** What of an object is worth memory; its metadata stay. All of it unless given. */
  readonly keep?: (object: Json) => Json;
  /** After `known` says so; also when there was nothing in the first list. May not fail. */
  readonly onChange: (changes: readonly Change[]) => void;
}

/**
 * Follows all objects of a kind: a list, and from its version on a watch, which goes on where it was when its connection
 * ends. Where that version is too old (410), and every quarter of an hour in any case, the list is read again and compared, so
 * that what went meanwhile is told too. Without the right to watch it is a list every half minute.
 */
export function watchObjects(
  what: Followed,
  { keep = (object) => object, onChange, ...options }: ObjectsOptions,
): Objects {
  const known = new Map<string, Json>();
  const { resource, path, fieldSelector } = what;
  const selectors = fieldSelector === undefined ? {} : { fieldSelector };
  let isListed = false;
  const tell = (changes: readonly Change[]) => {
    for (const { key, after } of changes) {
      if (after === undefined) known.delete(key);
      else known.set(key, keep(after));
    }
    options.metrics.objects(resource).value = known.size;
    if (changes.length > 0 || !isListed) onChange(changes);
    isListed = true;
  };
  const state = { isOpen: false };
  const ended = keepWatching(what, options, state, {
    async start() {
      const { items, version } = await listAt(options.api, path, selectors);
      // What was there is not known to be gone with its kind.
      if (version === '' && known.size > 0) throw unknownKind(path);
      tell(changesTo(items, known));
      return version;
    },
    opened() {},
    closed() {},
    told: (event) => tell(changeBy(event, known)),
  });
  return { known, isOpen: () => state.isOpen, ended };
}

/**
 * Tells that one object may have changed, for those who read it then: also whenever a watch begins, so that nothing before
 * that is missed, and when one ends. It takes the right to watch the object of that name, and none to list.
 */
export function watchObject(
  { name, ...what }: Omit<Followed, 'fieldSelector'> & { readonly name: string },
  { onChange, ...options }: WatchOptions & { readonly onChange: () => void },
): Watch {
  const state = { isOpen: false };
  const ended = keepWatching({ ...what, fieldSelector: `metadata.name=${name}` }, options, state, {
    start: async () => '',
    opened: onChange,
    told: ({ type }) => type !== 'BOOKMARK' && onChange(),
    closed: onChange,
  });
  return { isOpen: () => state.isOpen, ended };
}

interface Reader {
  /** The version from which on it wants to be told; none to be told first what there is. */
  start(): Promise<string>;
  opened(): void;
  closed(): void;
  told(event: WatchEvent): void;
}

/** Above the minute after which an API server says that nothing has happened. */
const SILENCE_MS = 75 * SECOND;
const RESYNC_MS = 10 * MINUTE;
const LONGEST_S = 300;
const RETRY = { min: SECOND / 4, max: 5 * SECOND };
/** Until somebody changes it; but an API server that starts refuses everybody for a moment. */
const REFUSED = { min: SECOND / 4, max: 30 * SECOND };
/** So many refusals, or cuts, until one is believed. */
const BELIEVED = 3;
/** A watch that lives so long is in order; one that tells something may be cut right after that, again and again. */
const LIVED_MS = 30 * SECOND;

async function keepWatching(
  { resource, path, fieldSelector }: Followed,
  { api, clock, random, log, metrics, signal, silenceMs = SILENCE_MS }: WatchOptions,
  state: { isOpen: boolean },
  reader: Reader,
): Promise<void> {
  let version: string | undefined;
  let startedAt = 0;
  let lived = false;
  /** Since a watch has lived. Each kind by itself: a long outage does not make the first refusal after it wait. */
  const times = new Map<WatchEnd, number>();
  const trouble = createTrouble(resource, log, clock);
  metrics.open(resource).value = 0;

  /** Until it ends, which is no trouble once it has begun. Throws what does not let it begin, and what the API server says. */
  const once = async (from: string): Promise<WatchEnd> => {
    const silent = new AbortController();
    const either = AbortSignal.any([signal, silent.signal]);
    const events = await api.watch(`${path}?${queryOf(from)}`, either);
    let heard = 0;
    const openedAt = clock.now();
    // One that is open and silent may as well be cut off where nobody sees it.
    const settle = () => {
      if (!lived || heard === 0) return;
      times.clear();
      trouble.over(openedAt);
    };
    const guard = async () => {
      for (let before = -1; before !== heard; ) {
        before = heard;
        await clock.sleep(silenceMs, either);
      }
      silent.abort(new SidelockError('SL-KUBE-001', `the watch of ${resource} is silent`));
    };
    log.debug({ event: 'watching', resource, version: from }, `watching ${resource}`);
    state.isOpen = true;
    metrics.open(resource).value = 1;
    const guarding = guard().catch(() => {});
    const living = clock.sleep(LIVED_MS, either).then(
      () => {
        lived = true;
        settle();
      },
      () => {},
    );
    try {
      reader.opened();
      for await (const event of events) {
        heard++;
        settle();
        metrics.events(resource, event.type).value++;
        if (from !== '') version = textOf(event.object['metadata'], 'resourceVersion') || version;
        reader.told(event);
      }
      return 'ended';
    } catch (error) {
      if (signal.aborted || !isSidelockError(error, 'SL-KUBE-001')) throw error;
      return silent.signal.aborted ? 'silent' : 'broken';
    } finally {
      state.isOpen = false;
      metrics.open(resource).value = 0;
      reader.closed();
      silent.abort();
      await Promise.all([guarding, living]);
    }
  };
  const queryOf = (from: string) =>
    new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(Math.round(LONGEST_S * (1 - 0.2 * random()))),
      ...(from === '' ? {} : { resourceVersion: from }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    });

  for (;;) {
    let end: WatchEnd;
    let asked = 0;
    let error: SidelockError | undefined;
    lived = false;
    try {
      const now = clock.now();
      if (version === undefined || now - startedAt >= RESYNC_MS) {
        version = await reader.start();
        startedAt = now;
      }
      end = await once(version);
    } catch (thrown) {
      if (signal.aborted) return;
      if (!isSidelockError(thrown)) throw thrown;
      error = thrown;
      end = endOf(error);
      asked = askedToWait(error, random);
      // What an API server refuses it may refuse because of the version.
      if (end !== 'unreachable' && end !== 'busy') version = undefined;
    }
    metrics.ends(resource, end).value++;
    log.debug({ event: 'watch_ended', resource, reason: end }, `the watch of ${resource} is over: ${end}`);
    const before = times.get(end) ?? 0;
    times.set(end, before + 1);
    const isCut = error === undefined && end !== 'silent';
    const isBelieved = before >= BELIEVED - 1 || !(isCut || end === 'refused');
    const isTrouble = !lived || end === 'silent';
    if (isBelieved && isTrouble) trouble.tell(end, error ?? (end === 'silent' ? fellSilent : cutShort)(resource));
    const wait = end === 'ended' && lived ? 0 : backoffDelay(before, end === 'refused' ? REFUSED : RETRY, random);
    try {
      await clock.sleep(Math.max(asked, wait), signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
  }
}

function cutShort(resource: Watched): SidelockError {
  const why = 'its connection is closed each time soon after it began, as by a proxy that bounds how long answers take';
  return new SidelockError('SL-KUBE-001', `the watch of ${resource} does not last`, { why });
}

function fellSilent(resource: Watched): SidelockError {
  const why = 'it stays open and nothing comes, as where a proxy or a firewall has forgotten its connection';
  return new SidelockError('SL-KUBE-001', `the watch of ${resource} is silent`, { why });
}

function endOf({ code, data }: SidelockError): WatchEnd {
  const status = Number(data['kubernetes']);
  if (code === 'SL-KUBE-001') return 'unreachable';
  if (status === 410) return 'gone';
  if (status === 429) return 'busy';
  return status >= 500 || status === 401 ? 'failed' : 'refused';
}

/** A line for each kind of trouble, and one when a watch has lived and told something: not one for each attempt. */
function createTrouble(resource: Watched, log: Logger, clock: Clock) {
  const told = new Set<WatchEnd>();
  let since = 0;
  return {
    tell(end: WatchEnd, { code, why, message }: SidelockError) {
      if (end === 'gone' || told.has(end)) return;
      if (told.size === 0) since = clock.now();
      told.add(end);
      const fields = { event: 'watch_failed', resource, reason: end, code, why };
      log[end === 'refused' ? 'error' : 'warn'](
        fields,
        `changes of ${resource} are not seen as they happen: ${message}`,
      );
    },
    over(at: number) {
      if (told.size === 0) return;
      told.clear();
      log.info({ event: 'watch_restored', resource, afterMs: at - since }, `${resource} are watched again`);
    },
  };
}
