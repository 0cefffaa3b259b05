import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isSidelockError } from '../base/errors.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { readGeneration, writeGeneration } from '../store/generation.ts';
import { CA_FILE, CERT_FILE, CERT_MODE, DIRECTORY_MODE, KEY_FILE, KEY_MODE, STATE_DIR } from '../store/layout.ts';
import type { Obtained } from './enroll.ts';
import { readDirectory } from './sources/files.ts';
import type { FileSet } from './sources/reload.ts';

/** The directory a sidecar keeps its own identity in. It belongs to one sidecar and is written by nobody else. */
export interface IdentityDirectory {
  /** Makes it, so that it can be watched from the start. Where that fails, so will `write`, which says why. */
  make(): Promise<void>;
  /** Undefined when nothing is there, which is how every sidecar begins. @throws SL-FS-001, SL-CERT-004 */
  read(): Promise<FileSet | undefined>;
  /**
   * An identity past its end, good only for asking for the next one. Undefined when what is there is no identity
   * any more, so that losing it loses nothing. @throws SL-FS-001, SL-CERT-004 when it may be somebody's.
   */
  readExpired(now: number): Promise<IdentityMaterial | undefined>;
  /** Replaces the identity as a whole. @throws SL-FS-003, the old one is untouched */
  write(obtained: Obtained, address: string): Promise<void>;
  /** Puts other roots beside the certificate and key there are. @throws SL-FS-003, the old ones are untouched */
  writeBundle(identity: IdentityFiles): Promise<void>;
  /** The manager that gave the identity. */
  managerAddress(): Promise<string | undefined>;
  /** The key of a question without an answer yet: asked again with it, the manager repeats the answer that was lost. */
  savedKey(): Promise<string | undefined>;
  /** @throws SL-FS-003 */
  saveKey(keyPem: string): Promise<void>;
  /** The manager will not have that key. */
  dropKey(): Promise<void>;
}

type IdentityFiles = Pick<Obtained, 'certPem' | 'keyPem' | 'caPem'>;

const NAMES = { cert: CERT_FILE, key: KEY_FILE, ca: CA_FILE };
const ADDRESS_FILE = 'manager.json';
const NEXT_KEY_FILE = 'next.key.pem';

export function identityDirectory(directory: string, expectedId: string): IdentityDirectory {
  const unanswered = join(directory, STATE_DIR);

  const read = async () => {
    if (await isEmpty(directory)) return undefined;
    return await readDirectory({ directory, files: NAMES }, { expectedId });
  };

  const dropKey = () => rm(unanswered, { recursive: true, force: true });

  const managerAddress = async () => {
    const text = await readText(directory, ADDRESS_FILE);
    if (text === undefined) return undefined;
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && 'address' in value && typeof value.address === 'string') {
        return value.address;
      }
    } catch {
      // Damaged: as if it were not there. The next identity writes it anew.
    }
    return undefined;
  };

  const put = ({ certPem, keyPem, caPem }: IdentityFiles, address: string | undefined) =>
    writeGeneration(directory, {
      [CERT_FILE]: { data: certPem, mode: CERT_MODE },
      [KEY_FILE]: { data: keyPem, mode: KEY_MODE },
      [CA_FILE]: { data: caPem, mode: CERT_MODE },
      ...(address && { [ADDRESS_FILE]: { data: `${JSON.stringify({ address })}\n`, mode: CERT_MODE } }),
    });

  return {
    read,
    dropKey,

    async make() {
      await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE }).catch(() => {});
    },

    async readExpired(now) {
      try {
        return (await read())?.load(now, { allowExpired: true });
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        const missing = error.code === 'SL-FS-001' && error.data['reason'] === 'ENOENT';
        if (missing || !['SL-FS-001', 'SL-CERT-004'].includes(error.code)) return undefined;
        throw error;
      }
    },

    async write(obtained, address) {
      await put(obtained, address);
      await dropKey();
    },

    writeBundle: async (identity) => put(identity, await managerAddress()),
    managerAddress,
    savedKey: () => readText(unanswered, NEXT_KEY_FILE),

    saveKey: (keyPem) => writeGeneration(unanswered, { [NEXT_KEY_FILE]: { data: keyPem, mode: KEY_MODE } }),
  };
}

async function isEmpty(directory: string): Promise<boolean> {
  return (await readGeneration(directory, Object.values(NAMES))).size === 0;
}

async function readText(directory: string, name: string): Promise<string | undefined> {
  try {
    return (await readGeneration(directory, [name])).get(name)?.data.toString('utf8');
  } catch (error) {
    if (isSidelockError(error, 'SL-FS-001')) return undefined;
    throw error;
  }
}
