import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip as gunzipCallback, gzip as gzipCallback } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Change, stillCounting } from '../store/changes.ts';
import type { Journal } from '../store/mirror.ts';
import type { KubeApi } from './client.ts';
import { listAll } from './list.ts';
import { DOMAIN, isObject, type Json, MANAGED_BY, textOf } from './names.ts';

interface JournalOptions {
  readonly api: Pick<KubeApi, 'get' | 'create' | 'replace' | 'remove'>;
  readonly namespace: string;
  /** Who writes, for people who look. */
  readonly identity: string;
  /** Whether this one may still write; what cannot be written is tried again as long as it may. */
  readonly holds: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Segment {
  readonly number: number;
  readonly version: string;
  readonly changes: readonly Change[];
}

const LABEL = `${DOMAIN}/state`;
const WRITER = `${DOMAIN}/writer`;
const PREFIX = 'sidelock-state-';
const KEY = 'changes';
/** A Secret holds 1 MiB. What it would be unpacked, so that it fits whatever packing brings. */
const SEGMENT_BYTES = 700 * 1024;
const PAGE = 25;
const RETRY_MS = 250;
/** Refusals until one is believed: about 15 s. */
const BELIEVED = 60;
/** So many more than there were after the last time are made fewer. */
const LOOSE = 64;

const gzip = promisify(gzipCallback);
const gunzip = promisify(gunzipCallback);

/**
 * The state as a row of numbered Secrets. To write is to make the next one, which the API server lets only one do: of two
 * that both think they lead, the second to write fails, and never writes again. Who opens it makes an empty one first, so
 * that whoever led before is shut out. Secrets are put together by giving the last of a run what still counts of all and
 * deleting the others; the state is the same at each step of that, and each step is bound to the version that was read.
 */
export function secretJournal({ api, namespace, identity, holds, clock, log, signal }: JournalOptions): Journal {
  const all = `/api/v1/namespaces/${namespace}/secrets`;
  const writer = `${identity} ${randomBytes(8).toString('hex')}`;
  let last = 0;
  let count = 0;
  let few = 0;
  let mustPurge = false;

  const read = async (): Promise<Segment[]> => {
    const found = await listAll(api, all, `${LABEL}=journal`, PAGE);
    const segments = await Promise.all(found.map(segmentOf));
    return segments.sort((a, b) => a.number - b.number);
  };

  /** As long as this one may. A refusal is believed once it was repeated: an API server that starts refuses everybody. */
  const insist = async <T>(work: () => Promise<T>): Promise<T> => {
    for (let refusals = 0, attempt = 0; ; attempt++) {
      if (!holds()) throw over('its time was over before the state was written');
      try {
        const done = await work();
        if (attempt > 0) log.info({ event: 'state_reached', attempts: attempt + 1 }, 'the Secrets are reached again');
        return done;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        if (isRefusal(error) && ++refusals === BELIEVED) throw error;
        const fields = { event: 'state_unreached', code: error.code, why: error.why };
        if (attempt === 0) log.warn(fields, `the state cannot be reached, and answers wait: ${error.message}`);
      }
      // What ends the wait ends the right to write.
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
  };

  /** False when there is one of that number, and it is not ours. */
  const add = async (number: number, changes: readonly Change[]): Promise<boolean> => {
    const object = await secretOf({ number, changes }, { namespace, writer });
    return await insist(async () => {
      if ((await api.create(all, object)) !== undefined) return true;
      // An answer may have been lost: then it is there, and it is ours.
      const metadata = (await api.get(`${all}/${PREFIX}${digits(number)}`))?.['metadata'];
      const annotations = isObject(metadata) ? metadata['annotations'] : undefined;
      return textOf(annotations, WRITER) === writer;
    });
  };

  const shrink = async (purge: boolean) => {
    const segments = (await read()).filter(({ number }) => number <= last);
    const counting = new Set(stillCounting(segments.flatMap(({ changes }) => changes)));
    const runs = packed(segments, ({ changes }) =>
      changes.filter((change) => counting.has(change)).reduce((sum, change) => sum + sizeOf(change), 0),
    );
    for (const [at, run] of runs.entries()) {
      const total = run.reduce((sum, { changes }) => sum + changes.length, 0);
      // What is gone need not be said where nothing is before it.
      const first = at === 0 && run.length === 1;
      const changes = run.flatMap((segment) =>
        segment.changes.filter((change) => counting.has(change) && !(first && change.kind === 'gone')),
      );
      const dead = total - changes.length;
      const newest = run.at(-1);
      if (newest === undefined || (run.length === 1 && (dead === 0 || !(purge || dead * 2 > total)))) continue;
      if (!holds()) throw over('its time was over before the state was made smaller');
      const object = await secretOf({ ...newest, changes }, { namespace, writer });
      const path = `${all}/${PREFIX}${digits(newest.number)}`;
      if ((await api.replace(path, object)) === undefined) throw over('another manager has written to the state');
      for (const { number, version } of run.slice(0, -1))
        await api.remove(`${all}/${PREFIX}${digits(number)}`, version);
    }
    count = runs.length + (last - (segments.at(-1)?.number ?? last));
    few = runs.length;
  };

  return {
    async open() {
      for (;;) {
        const segments = await insist(read);
        const number = (segments.at(-1)?.number ?? 0) + 1;
        // Whoever led before wrote meanwhile: read again.
        if (!(await add(number, []))) continue;
        last = number;
        count = segments.length + 1;
        const changes = segments.flatMap((segment) => segment.changes);
        // Whoever led before may have ended between the removal and the purge.
        mustPurge = changes.some(isKeyGone);
        return changes;
      }
    },

    async append(changes) {
      for (const part of packed(changes, sizeOf)) {
        if (!(await add(last + 1, part))) throw over('another manager has written to the state');
        last += 1;
        count += 1;
      }
      if (changes.some(isKeyGone)) mustPurge = true;
    },

    async tidy() {
      if (!mustPurge && count < 2 * few + LOOSE) return;
      const purge = mustPurge;
      // `append` may ask for the next one meanwhile.
      mustPurge = false;
      try {
        await shrink(purge);
      } catch (error) {
        mustPurge ||= purge;
        throw error;
      }
    },
  };
}

const isKeyGone = ({ kind, path }: Change): boolean => kind === 'gone' && path.endsWith('.key');

/** Neighbours that fit into one Secret together. */
function packed<T>(items: readonly T[], sizeOf: (item: T) => number): T[][] {
  const found: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const own = sizeOf(item);
    bytes += own;
    if (bytes > SEGMENT_BYTES) {
      found.push([item]);
      bytes = own;
    } else found.at(-1)?.push(item);
  }
  return found;
}

function sizeOf(change: Change): number {
  return Buffer.byteLength(JSON.stringify(change));
}

async function secretOf(
  { number, version, changes }: Omit<Segment, 'version'> & { readonly version?: string },
  { namespace, writer }: { readonly namespace: string; readonly writer: string },
): Promise<Json> {
  const packed = await gzip(JSON.stringify({ v: 1, changes }));
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      namespace,
      name: `${PREFIX}${digits(number)}`,
      labels: { [LABEL]: 'journal', [MANAGED_BY.label]: MANAGED_BY.value },
      annotations: { [WRITER]: writer },
      ...(version === undefined ? {} : { resourceVersion: version }),
    },
    type: LABEL,
    data: { [KEY]: packed.toString('base64') },
  };
}

async function segmentOf({ metadata, data }: Json): Promise<Segment> {
  const name = textOf(metadata, 'name');
  try {
    const number = Number(name.slice(PREFIX.length));
    const { v, changes }: { v: number; changes: Change[] } = JSON.parse(
      (await gunzip(Buffer.from(textOf(data, KEY), 'base64'))).toString(),
    );
    if (v !== 1 || !Number.isSafeInteger(number)) throw new TypeError(`version ${v}`);
    return { number, version: textOf(metadata, 'resourceVersion'), changes };
  } catch (cause) {
    throw new SidelockError('SL-STORE-003', `Secret ${name} cannot be read as a part of the state`, {
      why: 'Something else wrote it, or a newer version of sidelock did.',
      fix: 'Restore it from a backup of the cluster.',
      cause,
    });
  }
}

/** So many that names sort as numbers do. */
function digits(number: number): string {
  return String(number).padStart(12, '0');
}

/** No right, no room. */
function isRefusal({ code, data }: SidelockError): boolean {
  const status = data['kubernetes'];
  return code !== 'SL-KUBE-001' && !(typeof status === 'number' && (status >= 500 || status === 429 || status === 410));
}

function over(why: string): SidelockError {
  return new SidelockError('SL-HA-001', 'this manager leads no more', { why });
}
