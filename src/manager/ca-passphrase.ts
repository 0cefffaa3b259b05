import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { privateKeyFromPem, privateKeyToPem } from '../pki/keys.ts';
import { readRegularFile, writeFileDurable } from '../store/files.ts';
import { KEY_MODE, STATE_DIR } from '../store/layout.ts';
import { lockDirectory } from '../store/lock.ts';
import { openAuditLog } from './audit.ts';
import { createManagerMetrics } from './metrics.ts';

interface PassphraseOptions {
  readonly storagePath: string;
  /** Of the keys as they are; undefined when they are not encrypted. */
  readonly current: string | undefined;
  /** Undefined takes the encryption away. */
  readonly next: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Encrypts every key of the CA anew: roots, issuers, the issuer of devices. Every key is read before the first is
 * written; what a crash left half done is finished by doing it again. No manager may run on the storage.
 * @throws SidelockError SL-STORE-002 one runs, SL-CA-002 a key opens with neither passphrase, SL-CA-001 there is no CA
 */
export async function changePassphrase(
  options: PassphraseOptions,
): Promise<{ readonly keys: number; readonly changed: number }> {
  const { storagePath, current, next, clock, log } = options;
  const state = join(storagePath, STATE_DIR);
  await using _lock = await lockDirectory(state, { clock });
  const paths = await keyFiles(state);
  if (paths.length === 0) throw new SidelockError('SL-CA-001', `there is no certificate authority in ${state}`);
  const found = await Promise.all(paths.map(async (path) => ({ path, pem: (await readRegularFile(path)).data })));
  const opened = found.map(({ path, pem }) => {
    const encrypted = pem.includes('BEGIN ENCRYPTED PRIVATE KEY');
    const done = encrypted === (next !== undefined) && (!encrypted || opens(pem, path, next));
    return { path, done, key: done ? undefined : keyOf(pem, path, current) };
  });
  const waiting = opened.filter(({ done }) => !done);
  for (const { path, key } of waiting) {
    if (key !== undefined) await writeFileDurable(path, privateKeyToPem(key, next), KEY_MODE);
  }
  const metrics = createManagerMetrics(createMetrics(), '');
  await using audit = await openAuditLog({ path: join(state, 'audit.log'), clock, log, metrics });
  await audit.append({
    action: 'ca_passphrase_changed',
    actor: 'operator',
    result: 'ok',
    why: `${waiting.length} of ${paths.length} keys, ${next === undefined ? 'now without' : 'encrypted'}`,
  });
  return { keys: paths.length, changed: waiting.length };
}

async function keyFiles(state: string): Promise<string[]> {
  const directories = (await readdir(state)).filter((name) => /^(?:ca|devices)(?:-\d+)?$/.test(name));
  const files = await Promise.all(
    directories.map(async (name) => (await readdir(join(state, name))).map((file) => join(state, name, file))),
  );
  return files
    .flat()
    .filter((path) => path.endsWith('.key'))
    .sort();
}

function keyOf(pem: Buffer, path: string, passphrase: string | undefined) {
  try {
    return privateKeyFromPem(pem, path, passphrase);
  } catch (error) {
    if (!isSidelockError(error, 'SL-PEM-005')) throw error;
    throw new SidelockError('SL-CA-002', `the key ${path} cannot be decrypted`, {
      why: error.why ?? error.message,
      fix: 'give the passphrase it has now by --passphrase-file; nothing was changed',
      cause: error,
    });
  }
}

function opens(pem: Buffer, path: string, passphrase: string | undefined): boolean {
  try {
    privateKeyFromPem(pem, path, passphrase);
    return true;
  } catch (error) {
    if (isSidelockError(error, 'SL-PEM-005')) return false;
    throw error;
  }
}
