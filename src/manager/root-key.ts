import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import { privateKeyFromPem, privateKeyToPem, spkiSha256 } from '../pki/keys.ts';
import { removeDurable, writeFileDurable } from '../store/files.ts';
import { KEY_MODE } from '../store/layout.ts';
import { OFFLINE_FILE, offlineText, readOffline } from './root-offline.ts';

const KEY_FILE = 'root.key';

/**
 * Takes the key of a root out of its directory. The mark comes first: a crash behind it is finished by
 * {@link finishOffline}, one before it has changed nothing. Whoever calls has the key elsewhere, and has proven it.
 */
export async function removeRootKey(directory: string, now: number): Promise<void> {
  await writeFileDurable(join(directory, OFFLINE_FILE), offlineText({ since: now, how: 'exported' }), KEY_MODE);
  await finishOffline(directory);
}

/** Removes a key that is marked as offline and lies there still. Safe to repeat. */
export async function finishOffline(directory: string): Promise<void> {
  if ((await readOffline(directory)) === undefined) return;
  await removeDurable(join(directory, KEY_FILE));
}

/** Puts it back; without the mark's removal, which comes last, it has not happened. */
export async function restoreRootKey(directory: string, keyPem: string, passphrase: string | undefined): Promise<void> {
  const key = privateKeyFromPem(keyPem, 'the export');
  await writeFileDurable(join(directory, KEY_FILE), privateKeyToPem(key, passphrase), KEY_MODE);
  await removeDurable(join(directory, OFFLINE_FILE));
}

/** @throws SL-CA-006 when the key is of another root, SL-PEM-* when it is no key */
export function checkRootKey(keyPem: string, root: Certificate): void {
  const found = spkiSha256(createPublicKey(privateKeyFromPem(keyPem, 'the export')));
  if (found === root.spkiSha256) return;
  throw new SidelockError('SL-CA-006', `this is not the key of ${root.subject}`, {
    why: `its public key is sha256:${found.slice(0, 16)}, that of the root sha256:${root.spkiSha256.slice(0, 16)}`,
  });
}
