import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { privateKeyFromPem, privateKeyToPem } from '../pki/keys.ts';
import { createExclusive, readRegularFile } from '../store/files.ts';
import { KEY_MODE } from '../store/layout.ts';
import { seal, unseal } from './backup-seal.ts';
import { authorityDirectory } from './ca.ts';
import { checkRootKey } from './root-key.ts';

interface ExportOptions {
  readonly stateDirectory: string;
  /** Of the root. */
  readonly number: number;
  /** Of the keys in the storage; undefined when they are not encrypted. */
  readonly passphrase: string | undefined;
  readonly output: string;
  /** Of the file that is written. */
  readonly exportPassphrase: string;
  readonly clock: Clock;
}

/**
 * Writes certificate and key of a root into one file, encrypted as backups are, and reads it back to the key.
 * @throws SL-CA-002 passphrase, SL-FS-003 when the file exists or cannot be written
 */
export async function exportRootKey(options: ExportOptions): Promise<void> {
  const { stateDirectory, number, passphrase, output, exportPassphrase, clock } = options;
  const directory = authorityDirectory(stateDirectory, number);
  const [certPath, keyPath] = [join(directory, 'root.crt'), join(directory, 'root.key')];
  const [root] = certificatesFromPem((await readRegularFile(certPath)).data, certPath);
  const key = openKey((await readRegularFile(keyPath)).data, keyPath, passphrase);
  if (root === undefined) throw new SidelockError('SL-CA-001', `${certPath} holds no certificate`);
  const content = JSON.stringify({ kind: KIND, root: root.fingerprint256, key: privateKeyToPem(key) });
  const sealed: Buffer[] = [];
  for await (const chunk of seal(once(Buffer.from(content)), exportPassphrase, clock.now())) sealed.push(chunk);
  if (!(await createExclusive(output, Buffer.concat(sealed), KEY_MODE))) {
    throw new SidelockError('SL-FS-003', `${output} exists already`, {
      why: 'the key of a root never replaces a file',
      fix: 'give another --output',
    });
  }
  checkRootKey((await readRootExport(output, exportPassphrase)).key, root);
}

/** @throws SL-BAK-001 damaged, SL-BAK-002 passphrase, SL-CA-006 when it is something else */
export async function readRootExport(
  file: string,
  passphrase: string,
): Promise<{ readonly key: string; readonly root: string }> {
  const plain: Buffer[] = [];
  const { data } = await readRegularFile(file);
  for await (const chunk of unseal(once(data), passphrase)) plain.push(chunk);
  try {
    const { kind, key, root } = JSON.parse(Buffer.concat(plain).toString()) as Record<string, unknown>;
    if (kind === KIND && typeof key === 'string' && typeof root === 'string') return { key, root };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new SidelockError('SL-CA-006', `${file} does not hold the key of a root`, {
    why: 'it is another file of ours, perhaps a backup',
    fix: 'give the file that sidelock ca offline wrote',
  });
}

const KIND = 'sidelock-root-key';

async function* once(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

function openKey(pem: Buffer, path: string, passphrase: string | undefined) {
  try {
    return privateKeyFromPem(pem, path, passphrase);
  } catch (error) {
    if (!isSidelockError(error, 'SL-PEM-005')) throw error;
    throw new SidelockError('SL-CA-002', `the key ${path} cannot be decrypted`, { why: error.why, cause: error });
  }
}
