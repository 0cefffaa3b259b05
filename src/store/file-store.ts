import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import { checkServiceName } from '../pki/names.ts';
import { tellChange } from './changes.ts';
import { readFailure, writeFailure } from './failure.ts';
import { exists, type StoredFile, syncDirectory } from './files.ts';
import { readGeneration, writeGeneration } from './generation.ts';
import { CA_FILE, CERT_FILE, CERT_MODE, DIRECTORY_MODE, KEY_FILE, KEY_MODE } from './layout.ts';
import { checkDirectory, checkRights, checkStorageDirectory } from './rights.ts';
import { takeSnapshot } from './snapshot.ts';
import { type CertStore, type ServiceCertificate, serviceCertificate } from './store.ts';

interface FileStoreOptions {
  /** Storage directory: one directory a service in it, with cert.pem, key.pem and ca.pem. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Correct modes that let other users in, with a line in the log; otherwise refuse (SL-FS-002, SL-STORE-003). */
  readonly repairModes: boolean;
}

export interface FileStore extends CertStore {
  readonly path: string;
}

const NAMES = [CERT_FILE, KEY_FILE, CA_FILE] as const;
const TRASH = '.trash-';

/** Two writes within one tick of the file system's clock can look the same, so younger files are not kept in memory. */
const SETTLED_MS = 100;

/**
 * Opens the storage directory, or makes it. Reads may go on in any number of processes while one writes.
 * SL-STORE-003 when its owner, mode or parent lets another user change it; SL-FS-003 when it cannot be made.
 */
export async function openFileStore({ path, clock, log, repairModes }: FileStoreOptions): Promise<FileStore> {
  const rights = { repair: repairModes, log };
  const cache = new Map<string, { id: string; certificate: ServiceCertificate }>();
  const inTurn = createTurns();
  try {
    await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
    await checkStorageDirectory(path, rights);
  } catch (error) {
    throw await writeFailure(path, error);
  }

  const read = async (service: string, directory: string): Promise<ServiceCertificate | undefined> => {
    const files = await readGeneration(directory, NAMES, { confined: true });
    if (files.size === 0) return undefined;
    await checkDirectory(directory, rights);
    for (const [name, { mode, uid }] of files) {
      const kind = name === KEY_FILE ? 'key' : 'certificate';
      await checkRights(kind, { path: join(directory, name), mode, uid }, rights);
    }
    const content = {
      certificate: present(files, CERT_FILE, directory),
      privateKey: present(files, KEY_FILE, directory),
      caCertificate: present(files, CA_FILE, directory),
    };
    return serviceCertificate(service, content, { file: join(directory, CERT_FILE), now: clock.now() });
  };

  return {
    path,

    async load(service) {
      checkServiceName(service);
      const directory = join(path, service);
      const { id, changedAt } = await takeSnapshot(directory, ['.', ...NAMES]);
      const kept = cache.get(service);
      if (kept?.id === id) return kept.certificate;
      cache.delete(service);
      try {
        const certificate = await read(service, directory);
        // Kept under what was seen before the read: a change during it makes the next load read again.
        if (certificate !== undefined && clock.now() - changedAt > SETTLED_MS) cache.set(service, { id, certificate });
        return certificate;
      } catch (error) {
        // Deleted while it was looked at.
        if (nodeCode(error) === 'ENOENT') return undefined;
        throw await readFailure(directory, error);
      }
    },

    async save(service, { certificate, privateKey, caCertificate }) {
      checkServiceName(service);
      serviceCertificate(
        service,
        { certificate, privateKey, caCertificate },
        { file: `new certificate of ${service}`, now: clock.now() },
      );
      await inTurn(service, () =>
        writeGeneration(join(path, service), {
          [CERT_FILE]: { data: certificate, mode: CERT_MODE },
          [KEY_FILE]: { data: privateKey, mode: KEY_MODE },
          [CA_FILE]: { data: caCertificate, mode: CERT_MODE },
        }),
      );
    },

    async list() {
      try {
        const entries = await readdir(path, { withFileTypes: true });
        const names = entries
          .filter((entry) => entry.isDirectory() && isServiceName(entry.name))
          .map(({ name }) => name);
        const stored = await Promise.all(names.map((name) => exists(join(path, name, CERT_FILE))));
        return names.filter((_, i) => stored[i]).sort();
      } catch (error) {
        throw await readFailure(path, error);
      }
    },

    async delete(service) {
      checkServiceName(service);
      return await inTurn(service, async () => {
        try {
          await emptyTrash(path);
          return await remove(path, service);
        } catch (error) {
          throw await writeFailure(join(path, service), error);
        }
      });
    },
  };
}

/** One rename takes the whole service away; removing its files afterwards may be interrupted. */
async function remove(path: string, service: string): Promise<boolean> {
  const trash = join(path, `${TRASH}${randomBytes(8).toString('hex')}`);
  try {
    await rename(join(path, service), trash);
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return false;
    throw error;
  }
  await syncDirectory(path);
  tellChange({ kind: 'gone', path: join(path, service) });
  await rm(trash, { recursive: true, force: true });
  return true;
}

async function emptyTrash(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (name.startsWith(TRASH)) await rm(join(path, name), { recursive: true, force: true });
  }
}

function present(files: ReadonlyMap<string, StoredFile>, name: string, directory: string): Buffer {
  const file = files.get(name);
  if (file !== undefined) return file.data;
  throw new SidelockError('SL-STORE-003', `${directory} holds no ${name}`, {
    why: `It holds only ${[...files.keys()].join(' and ')}; the three belong together.`,
    fix: `Restore it from a backup, or remove ${directory} and run: sidelock generate --service NAME`,
    data: { path: join(directory, name) },
  });
}

function isServiceName(name: string): boolean {
  try {
    checkServiceName(name);
    return true;
  } catch (error) {
    if (isSidelockError(error, 'SL-NAME-002')) return false;
    throw error;
  }
}
