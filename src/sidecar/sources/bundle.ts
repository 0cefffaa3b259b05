import { basename, dirname } from 'node:path';
import { identityFromBundleFile } from '../../pki/material.ts';
import type { BundleIdentityOptions } from '../options.ts';
import { checkKeyAccess, hashOf, isMounted, type ReadFile, readFiles, readPassphrase } from './file-set.ts';
import type { FileSet } from './reload.ts';

interface ReadOptions {
  /** Refuse any other identity. */
  readonly expectedId: string | undefined;
}

/**
 * Reads one file with key and chain, as kubelet writes for a pod certificate, and the file with the roots.
 * @throws SL-FS-001 naming the file; what is in the files is judged by `load`.
 */
export async function readBundle(
  options: Omit<BundleIdentityOptions, 'source'>,
  { expectedId }: ReadOptions,
): Promise<FileSet> {
  const [bundle, ca] = await readBoth(options.file, options.ca);
  const mounted = await isMounted(dirname(options.file));
  const passphrase = await readPassphrase(options.passphraseFile);

  return {
    hash: hashOf([bundle, ca], bundle),
    load(now, { allowExpired = false } = {}) {
      checkKeyAccess(bundle, { mounted });
      return identityFromBundleFile(
        { bundle: bundle.data, ca: ca.data },
        {
          now,
          allowExpired,
          files: { cert: bundle.path, key: bundle.path, ca: ca.path },
          ...(passphrase === undefined ? {} : { passphrase }),
          ...(expectedId === undefined ? {} : { expectedId }),
        },
      );
    },
  };
}

/** In one directory both are read of one generation. */
async function readBoth(first: string, second: string): Promise<readonly [ReadFile, ReadFile]> {
  const [a, b] = [basename(first), basename(second)];
  if (dirname(first) === dirname(second)) {
    const file = await readFiles(dirname(first), [a, b]);
    return [file(a), file(b)];
  }
  return [(await readFiles(dirname(first), [a]))(a), (await readFiles(dirname(second), [b]))(b)];
}
