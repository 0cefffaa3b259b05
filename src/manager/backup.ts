import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, mkdtemp, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { openFileStore } from '../store/file-store.ts';
import { syncDirectory } from '../store/files.ts';
import { CA_FILE, CERT_FILE, DIRECTORY_MODE, KEY_FILE, KEY_MODE, STATE_DIR } from '../store/layout.ts';
import { lockDirectory } from '../store/lock.ts';
import { verifyAudit } from './audit-verify.ts';
import { type Digests, type Entry, type EntrySink, readEntries, writeEntries } from './backup-entries.ts';
import { seal, unreadable, unseal } from './backup-seal.ts';

interface BackupOptions {
  readonly storagePath: string;
  /** A file that does not exist yet. */
  readonly output: string;
  readonly passphrase: string;
  /** Restore it beside the output, compare every file, and only then let it appear under its name. */
  readonly verify: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

interface RestoreOptions extends Pick<BackupOptions, 'passphrase' | 'clock' | 'log'> {
  readonly archive: string;
  /** Must not exist, or be empty. */
  readonly storagePath: string;
}

interface BackupResult {
  readonly files: number;
  readonly bytes: number;
  readonly verified: boolean;
}

/**
 * Writes CA, certificates, tokens, inventory and audit log of a storage into one encrypted, authenticated file (0600).
 * A manager may run on the storage. The file appears when it is whole.
 * @throws SidelockError SL-BAK-001 when the rehearsal finds a difference, SL-FS-003.
 */
export async function createBackup(options: BackupOptions): Promise<BackupResult> {
  const { storagePath, output, passphrase, clock, log } = options;
  const store = await openFileStore({ path: storagePath, clock, log, repairModes: false });
  const part = join(dirname(output), `.${basename(output)}.${randomBytes(8).toString('hex')}.part`);
  try {
    const digests: Digests = new Map();
    const bytes = await writeFile(part, seal(readEntries(storagePath, store, digests), passphrase, clock.now()));
    if (options.verify) await rehearse({ ...options, archive: part }, digests);
    await appear(part, output);
    return { files: digests.size, bytes, verified: options.verify };
  } finally {
    await rm(part, { force: true });
  }
}

/**
 * Brings a storage back as it was. The archive is read to its end and proven before the first byte is written, and
 * the storage appears under its name when it is whole.
 * @throws SidelockError SL-BAK-001, SL-BAK-002, SL-BAK-003 when the directory is not empty, SL-STORE-002 when a manager
 * runs on it. Nothing was written then.
 */
export async function restoreBackup(options: RestoreOptions): Promise<{ readonly files: number }> {
  const { archive, storagePath, passphrase } = options;
  await refuseOccupied(options);
  const chunks = (): AsyncIterable<Buffer> => createReadStream(archive);
  const nothing: EntrySink = { begin: async () => {}, data: async () => {}, end: async () => {} };
  await writeEntries(unseal(chunks(), passphrase), nothing);
  await mkdir(dirname(storagePath), { recursive: true, mode: DIRECTORY_MODE });
  const fresh = await mkdtemp(join(dirname(storagePath), `.${basename(storagePath)}.restore-`));
  try {
    const files = await unpack(unseal(chunks(), passphrase), fresh, options);
    await refuseOccupied(options);
    // Over an empty directory too, and never over one that has something in it.
    await rename(fresh, storagePath);
    await syncDirectory(dirname(storagePath));
    return { files };
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function writeFile(path: string, data: AsyncIterable<Buffer>): Promise<number> {
  await using file = await open(path, 'wx', KEY_MODE);
  let bytes = 0;
  for await (const chunk of data) {
    await file.appendFile(chunk);
    bytes += chunk.length;
  }
  await file.sync();
  return bytes;
}

/** link(2), unlike rename(2), never replaces what is there. */
async function appear(part: string, output: string): Promise<void> {
  try {
    await link(part, output);
    await unlink(part);
    await syncDirectory(dirname(output));
  } catch (cause) {
    if (nodeCode(cause) !== 'EEXIST') throw cause;
    throw new SidelockError('SL-FS-003', `${output} exists already`, {
      why: 'a backup never replaces a file',
      fix: 'give another --output',
      cause,
    });
  }
}

async function rehearse(options: RestoreOptions, digests: Digests): Promise<void> {
  const scratch = await mkdtemp(join(dirname(options.archive), '.sidelock-rehearsal-'));
  try {
    const storagePath = join(scratch, 'storage');
    await restoreBackup({ ...options, storagePath });
    const restored = new Map<string, string>();
    const store = await openFileStore({ ...options, path: storagePath, repairModes: false });
    for await (const _ of readEntries(storagePath, store, restored));
    const differs = [...digests].filter(([path, digest]) => restored.get(path) !== digest).map(([path]) => path);
    if (differs.length > 0 || restored.size !== digests.size)
      throw unreadable(`restored, it differs: ${differs.slice(0, 5).join(', ')}`);
    const audit = await verifyAudit(join(storagePath, STATE_DIR, 'audit.log'));
    if (!audit.ok) throw unreadable(`line ${audit.line} of the audit log in it: ${audit.why}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function refuseOccupied({ storagePath, clock }: RestoreOptions): Promise<void> {
  const there = await entriesOf(storagePath);
  if (there.length === 0) return;
  if (there.includes(STATE_DIR))
    await (await lockDirectory(join(storagePath, STATE_DIR), { clock }))[Symbol.asyncDispose]();
  throw new SidelockError('SL-BAK-003', `${storagePath} is not empty`, {
    why: `it holds ${there.slice(0, 3).join(', ')}${there.length > 3 ? ', …' : ''}: a restore replaces nothing`,
    fix: `move it away first: mv ${storagePath} ${storagePath}.old`,
  });
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return [];
    if (nodeCode(error) !== 'ENOTDIR') throw error;
    return [basename(directory)];
  }
}

async function unpack(
  plain: AsyncIterable<Buffer>,
  directory: string,
  { clock, log }: RestoreOptions,
): Promise<number> {
  const store = await openFileStore({ path: directory, clock, log, repairModes: false });
  const services = new Map<string, Map<string, Buffer>>();
  let entry: Entry | undefined;
  let parts: Buffer[] = [];
  let file: Awaited<ReturnType<typeof open>> | undefined;
  const sink: EntrySink = {
    async begin(next) {
      entry = next;
      parts = [];
      const [root, ...rest] = next.path.split('/');
      if (root !== 'state') return;
      const path = join(directory, STATE_DIR, ...rest);
      await mkdir(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
      file = await open(path, 'wx', next.mode);
      await file.chmod(next.mode);
    },
    async data(data) {
      if (file === undefined) parts.push(data);
      else await file.appendFile(data);
    },
    async end() {
      await file?.sync();
      await file?.close();
      const [, service = '', name = ''] = entry?.path.split('/') ?? [];
      if (file === undefined) {
        const set = services.get(service) ?? new Map<string, Buffer>();
        services.set(service, set.set(name, Buffer.concat(parts)));
        if (set.size === 3) await saveService(store, service, set);
      }
      file = undefined;
    },
  };
  try {
    return await writeEntries(plain, sink);
  } finally {
    await file?.close();
  }
}

type Store = Awaited<ReturnType<typeof openFileStore>>;

async function saveService(store: Store, service: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  const [certificate, privateKey, caCertificate] = [files.get(CERT_FILE), files.get(KEY_FILE), files.get(CA_FILE)];
  if (certificate === undefined || privateKey === undefined || caCertificate === undefined) return;
  await store.save(service, { certificate, privateKey, caCertificate });
}
