import { join } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Signer } from '../pki/issue.ts';
import { readJsonFile } from './json-file.ts';

/** Beside root.crt, in place of root.key. */
export const OFFLINE_FILE = 'root.offline';

/** Of a root whose key is not in the storage. */
export interface OfflineRoot {
  /** ms since the epoch. */
  readonly since: number;
  /** An exported key can be put back; of a CA that was imported with its intermediate it was never here. */
  readonly how: 'exported' | 'imported';
}

/** What of a CA is asked. */
interface Rooted {
  readonly root: Certificate;
  readonly rootSigner: Signer | undefined;
  readonly offline: OfflineRoot | undefined;
}

/** Undefined when the key is, or should be, in that directory. @throws SL-STORE-003 */
export function readOffline(directory: string): Promise<OfflineRoot | undefined> {
  return readJsonFile<OfflineRoot>(join(directory, OFFLINE_FILE));
}

export function offlineText(offline: OfflineRoot): string {
  return `${JSON.stringify(offline)}\n`;
}

/** For what only the root itself can sign. @throws SL-CA-005 naming the command that brings it back; `what` is not done */
export function rootSignerOf({ rootSigner, root, offline }: Rooted, what: string): Signer {
  if (rootSigner !== undefined) return rootSigner;
  const since = offline === undefined ? '' : ` since ${new Date(offline.since).toISOString()}`;
  throw new SidelockError('SL-CA-005', `${what}: the key of its root is offline`, {
    why:
      offline?.how === 'imported'
        ? `${root.subject} was imported as the root of an intermediate: its own key never was here`
        : `the key of ${root.subject} was taken out of the storage${since}`,
    ...(offline?.how === 'imported'
      ? { fix: 'import a CA whose root key is given: sidelock ca import --cert ROOT --key KEY' }
      : {}),
  });
}
