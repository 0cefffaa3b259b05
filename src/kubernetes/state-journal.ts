import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip as gunzipCallback, gzip as gzipCallback } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Change, parents, stillCounting } from '../store/changes.ts';
import { KEY_FILE } from '../store/layout.ts';
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

/** One Secret of ours, at one version. */
interface Place {
  readonly number: number;
  readonly version: string;
}

interface Segment extends Place {
  readonly changes: readonly Change[];
  /** Those with the beginning of what it says. */
  readonly pieces: readonly Place[];
}

/** What one Secret holds: something whole, the end of what `pieces` before it begin, or one of these. */
interface Piece {
  readonly bytes: Buffer;
  readonly pieces: number | 'one';
}

const LABEL = `${DOMAIN}/state`;
const WRITER = `${DOMAIN}/writer`;
const PIECES = `${DOMAIN}/pieces`;
const PREFIX = 'sidelock-state-';
const KEY = 'changes';
/** A Secret holds 1 MiB. What it would be unpacked, so that it fits whatever packing brings. */
const SEGMENT_BYTES = 700 * 1024;
/** Packed, of a change that is larger than that: it is alone, and takes several Secrets. */
const PIECE_BYTES = 900 * 1024;
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
 * that whoever led before is shut out. What one Secret cannot hold is in several, and counts from the last of them on.
 * Secrets are put together by giving the last of a run what still counts of all and deleting the others; the state is the
 * same at each step of that, and each step is bound to the version that was read.
 */
export function secretJournal({ api, namespace, identity, holds, clock, log, signal }: JournalOptions): Journal {
  const all = `/api/v1/namespaces/${namespace}/secrets`;
  const writer = `${identity} ${randomBytes(8).toString('hex')}`;
  let last = 0;
  /** That of this term: as long as its number is taken, whoever led before cannot write. */
  let opened = 0;
  /** The last that ended a change: behind it one may be half written. */
  let whole = 0;
  let count = 0;
  let few = 0;
  let mustPurge = false;
  const destroysKey = createKeyWatch();

  const read = async (): Promise<Segment[]> => {
    const found = await listAll(api, all, `${LABEL}=journal`, PAGE);
    return await segmentsOf(found.map(secretAt).sort((a, b) => a.number - b.number));
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
  const add = async (number: number, piece: Piece): Promise<boolean> => {
    const object = secretOf({ number }, piece, { namespace, writer });
    return await insist(async () => {
      if ((await api.create(all, object)) !== undefined) return true;
      // An answer may have been lost: then it is there, and it is ours.
      const metadata = (await api.get(`${all}/${PREFIX}${digits(number)}`))?.['metadata'];
      const annotations = isObject(metadata) ? metadata['annotations'] : undefined;
      return textOf(annotations, WRITER) === writer;
    });
  };

  const shrink = async (purge: boolean) => {
    const upTo = whole;
    const segments = (await read()).filter(({ number }) => number <= upTo);
    const counting = new Set(stillCounting(segments.flatMap(({ changes }) => changes)));
    const counted = ({ changes }: Segment) =>
      changes.filter((change) => counting.has(change)).reduce((sum, change) => sum + sizeOf(change), 0);
    // The opening of this term stays, though it says nothing: it is neither removed nor put together with others.
    const [before, since] = [
      segments.filter((one) => one.number < opened),
      segments.filter((one) => one.number > opened),
    ];
    const runs = [...packed(before, counted), ...packed(since, counted)];
    let silent = 0;
    const remove = async (places: readonly Place[]) => {
      for (const { number, version } of places) await api.remove(`${all}/${PREFIX}${digits(number)}`, version);
    };
    for (const [at, run] of runs.entries()) {
      const total = run.reduce((sum, { changes }) => sum + changes.length, 0);
      // What is gone need not be said where nothing is before it.
      const first = at === 0 && run.length === 1;
      const changes = run.flatMap((segment) =>
        segment.changes.filter((change) => counting.has(change) && !(first && change.kind === 'gone')),
      );
      const dropped = total - changes.length;
      const newest = run.at(-1);
      if (newest === undefined) continue;
      // Between two that are full. The last of all stays: the next is numbered after it.
      const isSilent = total === 0 && newest.number < upTo;
      if (!isSilent && run.length === 1 && (dropped === 0 || !(purge || dropped * 2 > total))) continue;
      if (!holds()) throw over('its time was over before the state was made smaller');
      if (isSilent) {
        await remove(run.flatMap((segment) => [segment, ...segment.pieces]));
        silent += 1;
        continue;
      }
      const object = secretOf(newest, { bytes: await pack(changes), pieces: 0 }, { namespace, writer });
      const path = `${all}/${PREFIX}${digits(newest.number)}`;
      if ((await api.replace(path, object)) === undefined) throw over('another manager has written to the state');
      // A piece goes after the end it belongs to: one that is left says nothing.
      await remove([...run.slice(0, -1).flatMap((segment) => [segment, ...segment.pieces]), ...newest.pieces]);
    }
    count = runs.length + 1 - silent + (last - (segments.at(-1)?.number ?? last));
    few = runs.length + 1 - silent;
  };

  return {
    async open() {
      for (;;) {
        const segments = await insist(read);
        const number = (segments.at(-1)?.number ?? 0) + 1;
        // Whoever led before wrote meanwhile: read again.
        if (!(await add(number, { bytes: await pack([]), pieces: 0 }))) continue;
        last = whole = opened = number;
        count = segments.length + 1;
        const changes = segments.flatMap((segment) => segment.changes);
        // Whoever led before may have ended between the removal and the purge.
        mustPurge = destroysKey(changes);
        return changes;
      }
    },

    async append(changes) {
      for (const part of packed(changes, sizeOf)) {
        for (const piece of pieced(await pack(part))) {
          if (!(await add(last + 1, piece))) throw over('another manager has written to the state');
          last += 1;
          count += 1;
        }
        whole = last;
      }
      if (destroysKey(changes)) mustPurge = true;
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

/** Tells of changes, in their order, whether a private key went with one of them: alone, or with all of its directory. */
function createKeyWatch(): (changes: readonly Change[]) => boolean {
  /** Each key that was written, and all above it. */
  const holding = new Set<string>();
  return (changes) => {
    let destroyed = false;
    for (const change of changes) {
      const { path } = change;
      if (change.kind === 'gone') destroyed = holding.delete(path) || destroyed;
      else if (path.endsWith('.key') || (change.kind === 'set' && KEY_FILE in change.files)) {
        for (const one of [path, ...parents(path)]) holding.add(one);
      }
    }
    return destroyed;
  };
}

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

async function pack(changes: readonly Change[]): Promise<Buffer> {
  return await gzip(JSON.stringify({ v: 1, changes }));
}

function pieced(packed: Buffer): Piece[] {
  const found: Piece[] = [];
  let rest = packed;
  for (; rest.length > PIECE_BYTES; rest = rest.subarray(PIECE_BYTES))
    found.push({ bytes: rest.subarray(0, PIECE_BYTES), pieces: 'one' });
  return [...found, { bytes: rest, pieces: found.length }];
}

function secretOf(
  { number, version }: { readonly number: number; readonly version?: string },
  { bytes, pieces }: Piece,
  { namespace, writer }: { readonly namespace: string; readonly writer: string },
): Json {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      namespace,
      name: `${PREFIX}${digits(number)}`,
      labels: { [LABEL]: 'journal', [MANAGED_BY.label]: MANAGED_BY.value },
      annotations: { [WRITER]: writer, ...(pieces === 0 ? {} : { [PIECES]: String(pieces) }) },
      ...(version === undefined ? {} : { resourceVersion: version }),
    },
    type: LABEL,
    data: { [KEY]: bytes.toString('base64') },
  };
}

type Held = Place & Piece;

function secretAt({ metadata, data }: Json): Held {
  const name = textOf(metadata, 'name');
  const number = Number(name.slice(PREFIX.length));
  const text = textOf(isObject(metadata) ? metadata['annotations'] : undefined, PIECES);
  const pieces = text === 'one' ? text : Number(text);
  const isOurs = Number.isSafeInteger(number) && (pieces === 'one' || Number.isSafeInteger(pieces));
  if (!isOurs) throw unreadable(number);
  return {
    number,
    version: textOf(metadata, 'resourceVersion'),
    bytes: Buffer.from(textOf(data, KEY), 'base64'),
    pieces,
  };
}

/** What they say, each with its pieces. A piece whose end was never written says nothing. */
async function segmentsOf(held: readonly Held[]): Promise<Segment[]> {
  const at = new Map(held.map((one) => [one.number, one]));
  const taken = new Set<number>();
  const segments = held.flatMap(({ number, version, bytes, pieces }) => {
    if (pieces === 'one') return [];
    const found = Array.from({ length: pieces }, (_, i) => at.get(number - pieces + i)).filter(isPiece);
    if (found.length < pieces) throw unreadable(number);
    for (const piece of found) taken.add(piece.number);
    return [{ number, version, pieces: found, bytes: Buffer.concat([...found.map((piece) => piece.bytes), bytes]) }];
  });
  const read = segments.map(async ({ bytes, ...place }) => ({ ...place, changes: await unpack(bytes, place.number) }));
  const lost = held.filter((one) => isPiece(one) && !taken.has(one.number));
  const said = [
    ...(await Promise.all(read)),
    ...lost.map(({ number, version }) => ({ number, version, changes: [], pieces: [] })),
  ];
  return said.sort((a, b) => a.number - b.number);
}

function isPiece(one: Held | undefined): one is Held {
  return one?.pieces === 'one';
}

async function unpack(bytes: Buffer, number: number): Promise<Change[]> {
  try {
    const { v, changes }: { v: number; changes: Change[] } = JSON.parse((await gunzip(bytes)).toString());
    if (v !== 1) throw new TypeError(`version ${v}`);
    return changes;
  } catch (cause) {
    throw unreadable(number, cause);
  }
}

function unreadable(number: number, cause?: unknown): SidelockError {
  return new SidelockError('SL-STORE-003', `Secret ${PREFIX}${digits(number)} cannot be read as a part of the state`, {
    why: 'Something else wrote it, or a newer version of sidelock did.',
    fix: 'Restore it from a backup of the cluster.',
    ...(cause === undefined ? {} : { cause }),
  });
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
