import { SidelockError } from '../base/errors.ts';
import { readSecret } from './manager-options.ts';

/** What protects keys of the CA. */
export const MIN_PASSPHRASE = 12;

/** The passphrase in that file. @throws SL-CA-002 when it is too short */
export function longEnough(path: string): string {
  const passphrase = readSecret(path, 'passphrase');
  if (passphrase.length >= MIN_PASSPHRASE) return passphrase;
  throw new SidelockError('SL-CA-002', `the passphrase in ${path} is too short`, {
    why: `it has ${passphrase.length} characters; at least ${MIN_PASSPHRASE} are needed`,
    fix: `openssl rand -base64 24 > ${path}`,
  });
}
