import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSidelockError, nodeCode } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import type { KeyType } from '../pki/keys.ts';
import { appendDurable, removeDurable, writeFileDurable } from '../store/files.ts';
import { DIRECTORY_MODE, KEY_MODE } from '../store/layout.ts';
import { readJsonFile } from './json-file.ts';
import type { IssuedBy } from './metrics.ts';

/** One certificate this CA has signed. Times are ms since the epoch. */
export interface InventoryEntry {
  readonly serial: string;
  readonly service: string;
  readonly namespace: string;
  readonly type: string;
  readonly spiffeId: string;
  readonly sans: readonly string[];
  /** Those of `sans` that were asked for, kept so that a renewal has them too. */
  readonly additionalSans: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
  readonly keyType: KeyType;
  readonly spkiSha256: string;
  readonly issuedAt: number;
  readonly by: IssuedBy;
  readonly fingerprint256: string;
  /** Leaf and intermediates, so that a repeated request can be given the same answer. */
  readonly pem: string;
  /** The pod that it is for. */
  readonly pod?: { readonly name: string; readonly uid: string };
  /** Serial of the certificate this one was renewed to. */
  readonly supersededBy?: string;
  /** When it was used to renew a second time. */
  readonly reusedAt?: number;
  /** True for a key that was made for the store, and went nowhere else. */
  readonly kept?: boolean;
  /** What its holder said last: the hash of the bundle it serves this certificate with. */
  readonly reported?: { readonly bundle: string; readonly at: number };
}

export interface Inventory {
  add(entry: InventoryEntry): Promise<void>;
  /** Notes that `serial` was renewed to `successor`; the second time, that it was used again at `now`. */
  supersede(serial: string, successor: string, now: number): Promise<void>;
  /** Notes what the holder of `serial` reports. */
  report(serial: string, reported: NonNullable<InventoryEntry['reported']>): Promise<void>;
  /** Removes what is known of these certificates, but for whom their keys belong to. */
  forget(serials: readonly string[]): Promise<void>;
  /** Whether no later certificate of its identity is known. */
  isNewest(entry: InventoryEntry): boolean;
  get(serial: string): InventoryEntry | undefined;
  /** The SPIFFE id a key was ever certified for, expired or not. */
  ownerOfKey(spkiSha256: string): string | undefined;
  /** The newest certificate for this key. */
  newestOfKey(spkiSha256: string): InventoryEntry | undefined;
  /** The newest certificate for this key and identity. */
  newestForKey(spkiSha256: string, spiffeId: string): InventoryEntry | undefined;
  /** All certificates of one pod. */
  ofPod(uid: string): InventoryEntry[];
  all(): InventoryEntry[];
  /** The newest certificate of each identity. */
  newest(): InventoryEntry[];
  /** The `limit` certificates signed last, newest first. */
  recent(limit: number): InventoryEntry[];
  /** When the newest certificate was signed; 0 when there is none. */
  readonly newestIssuedAt: number;
  readonly size: number;
}

/** Files opened together: reading 10,000 one after the other is most of a start. */
const READ_AT_ONCE = 64;

/** A line for each key whose certificates were forgotten: its hash, and whose it was. */
const KEYS_FILE = 'keys.log';

/** What was issued, one file a serial. A file that cannot be read is reported and left out. */
export async function openInventory(directory: string, log: Logger): Promise<Inventory> {
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  const bySerial = new Map<string, InventoryEntry>();
  const newestByKey = new Map<string, InventoryEntry>();
  const newestById = new Map<string, InventoryEntry>();
  const serialsOfPod = new Map<string, Set<string>>();
  const formerOwners = await readOwners(join(directory, KEYS_FILE));
  const inTurn = createTurns();
  let newestIssuedAt = 0;

  const index = (entry: InventoryEntry) => {
    bySerial.set(entry.serial, entry);
    keepNewest(newestByKey, entry.spkiSha256, entry);
    keepNewest(newestById, entry.spiffeId, entry);
    newestIssuedAt = Math.max(newestIssuedAt, entry.issuedAt);
    if (entry.pod === undefined) return;
    const serials = serialsOfPod.get(entry.pod.uid) ?? new Set();
    serialsOfPod.set(entry.pod.uid, serials.add(entry.serial));
  };
  const drop = ({ serial, spkiSha256, spiffeId, pod }: InventoryEntry) => {
    bySerial.delete(serial);
    formerOwners.set(spkiSha256, spiffeId);
    for (const [map, key] of [
      [newestByKey, spkiSha256],
      [newestById, spiffeId],
    ] as const) {
      if (map.get(key)?.serial === serial) map.delete(key);
    }
    const ofPod = pod && serialsOfPod.get(pod.uid);
    ofPod?.delete(serial);
    if (pod !== undefined && ofPod?.size === 0) serialsOfPod.delete(pod.uid);
  };
  const fileOf = (serial: string) => join(directory, `${serial}.json`);
  const write = (entry: InventoryEntry) => writeFileDurable(fileOf(entry.serial), JSON.stringify(entry), KEY_MODE);

  /** In turn: two notes on one certificate must both stay. */
  const change = (serial: string, noteOn: (entry: InventoryEntry) => Partial<InventoryEntry>) =>
    inTurn(serial, async () => {
      const entry = bySerial.get(serial);
      if (entry === undefined) return;
      const changed = { ...entry, ...noteOn(entry) };
      await write(changed);
      bySerial.set(serial, changed);
      for (const map of [newestByKey, newestById]) replace(map, entry, changed);
    });

  const read = async (file: string) => {
    try {
      const entry = await readJsonFile<InventoryEntry>(join(directory, file));
      if (entry !== undefined) index(entry);
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      log.error({ event: 'inventory_damaged', file, code: error.code }, `${file} of the inventory is left out`);
    }
  };
  const files = (await readdir(directory)).filter((file) => /^[0-9a-f]+\.json$/.test(file));
  for (let i = 0; i < files.length; i += READ_AT_ONCE) {
    await Promise.all(files.slice(i, i + READ_AT_ONCE).map(read));
  }

  return {
    async add(entry) {
      await write(entry);
      index(entry);
    },
    supersede: (serial, supersededBy, now) =>
      change(serial, (entry) => ({ supersededBy, ...(entry.supersededBy === undefined ? {} : { reusedAt: now }) })),
    report: (serial, reported) => change(serial, () => ({ reported })),
    async forget(serials) {
      const entries = serials.flatMap((serial) => bySerial.get(serial) ?? []);
      const lines = entries.map(({ spkiSha256, spiffeId }) => `${spkiSha256} ${spiffeId}\n`).join('');
      // Before the files go: a crash between leaves a line too many.
      if (lines !== '') await appendDurable(join(directory, KEYS_FILE), lines, KEY_MODE);
      // From memory first, each in its turn: a note that is being written is done then, and no later one writes a file anew.
      const dropped: InventoryEntry[] = [];
      for (const serial of serials) {
        await inTurn(serial, async () => {
          const entry = bySerial.get(serial);
          if (entry === undefined) return;
          drop(entry);
          dropped.push(entry);
        });
      }
      try {
        await removeDurable(dropped.map(({ serial }) => fileOf(serial)));
      } catch (error) {
        // Some are there still: the next time finds them.
        for (const entry of dropped) index(entry);
        throw error;
      }
    },
    isNewest: ({ serial, spiffeId }) => newestById.get(spiffeId)?.serial === serial,
    get: (serial) => bySerial.get(serial),
    ownerOfKey: (spki) => newestByKey.get(spki)?.spiffeId ?? formerOwners.get(spki),
    newestOfKey: (spki) => newestByKey.get(spki),
    newestForKey(spki, spiffeId) {
      const entry = newestByKey.get(spki);
      return entry?.spiffeId === spiffeId ? entry : undefined;
    },
    ofPod: (uid) => [...(serialsOfPod.get(uid) ?? [])].flatMap((serial) => bySerial.get(serial) ?? []),
    all: () => [...bySerial.values()],
    newest: () => [...newestById.values()],
    recent: (limit) => [...bySerial.values()].sort((a, b) => b.issuedAt - a.issuedAt).slice(0, limit),
    get newestIssuedAt() {
      return newestIssuedAt;
    },
    get size() {
      return bySerial.size;
    },
  };
}

async function readOwners(path: string): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  try {
    for (const line of (await readFile(path, 'utf8')).split('\n')) {
      const [spki, spiffeId] = line.split(' ');
      if (spki !== undefined && spiffeId !== undefined) owners.set(spki, spiffeId);
    }
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw error;
  }
  return owners;
}

function keepNewest(map: Map<string, InventoryEntry>, key: string, entry: InventoryEntry): void {
  const known = map.get(key);
  if (known === undefined || known.issuedAt <= entry.issuedAt) map.set(key, entry);
}

function replace(map: Map<string, InventoryEntry>, old: InventoryEntry, changed: InventoryEntry): void {
  for (const key of [old.spkiSha256, old.spiffeId]) if (map.get(key) === old) map.set(key, changed);
}
