import { readdir } from 'node:fs/promises';
import { nodeCode, SidelockError } from '../../base/errors.ts';
import { readIdentity } from '../../pki/material.ts';
import { CA_FILE, CERT_FILE, KEY_FILE } from '../../store/layout.ts';
import type { FilesIdentityOptions, IdentityFileNames } from '../options.ts';
import { checkKeyAccess, hashOf, isMounted, readFiles, readPassphrase } from './file-set.ts';
import type { FileSet } from './reload.ts';

interface ReadOptions {
  /** Refuse any other identity. */
  readonly expectedId: string | undefined;
}

/**
 * Reads certificate, key and bundle of one directory, all of the same generation where it has one.
 * @throws SL-FS-001 naming the file; what is in the files is judged by `load`.
 */
export async function readDirectory(
  { directory, files, passphraseFile }: Omit<FilesIdentityOptions, 'source'>,
  { expectedId }: ReadOptions,
): Promise<FileSet> {
  const names = files ?? (await detectNames(directory));
  const file = await readFiles(directory, [names.cert, names.key, names.ca]);
  const [cert, key, ca] = [file(names.cert), file(names.key), file(names.ca)];
  const mounted = await isMounted(directory);
  const passphrase = await readPassphrase(passphraseFile);

  return {
    hash: hashOf([cert, key, ca], key),
    load(now, { allowExpired = false } = {}) {
      checkKeyAccess(key, { mounted });
      return readIdentity(
        { cert: cert.data, key: key.data, ca: ca.data },
        {
          now,
          allowExpired,
          files: { cert: cert.path, key: key.path, ca: ca.path },
          ...(passphrase === undefined ? {} : { passphrase }),
          ...(expectedId === undefined ? {} : { expectedId }),
        },
      );
    },
  };
}

/** The two conventions in use: the guide's names, and those of `kubernetes.io/tls` Secrets and cert-manager. */
const CONVENTIONS: readonly IdentityFileNames[] = [
  { cert: CERT_FILE, key: KEY_FILE, ca: CA_FILE },
  { cert: 'tls.crt', key: 'tls.key', ca: 'ca.crt' },
];

/** The convention of which most files are there, so that a half-written set is reported under its own names. */
async function detectNames(directory: string): Promise<IdentityFileNames> {
  const present = new Set(await list(directory));
  const ranked = CONVENTIONS.map((names) => ({
    names,
    count: Object.values(names).filter((name) => present.has(name)).length,
  })).sort((a, b) => b.count - a.count);
  const best = ranked[0];
  if (best === undefined || best.count === 0) {
    throw new SidelockError('SL-FS-001', `${directory} holds no identity`, {
      why: `neither ${CONVENTIONS.map(({ cert, key, ca }) => `${cert}, ${key} and ${ca}`).join(' nor ')} are there`,
      fix: 'put the files there, or give their names with identity.files',
      data: { directory },
    });
  }
  return best.names;
}

async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    throw new SidelockError('SL-FS-001', `cannot read the identity directory ${directory}`, {
      why: `the system says ${nodeCode(error) ?? 'no more'}`,
      cause: error,
      data: { directory },
    });
  }
}
