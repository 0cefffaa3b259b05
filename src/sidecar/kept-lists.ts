import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { MAX_CRL } from '../pki/crl.ts';
import { readGeneration, writeGeneration } from '../store/generation.ts';
import { CERT_MODE } from '../store/layout.ts';
import type { IdentityReader } from './identity.ts';
import type { OfferedLists, RevocationHolder } from './revocation.ts';

/** The newest lists on disk, so that a sidecar which starts while its manager is away still refuses the revoked. */
export interface KeptLists {
  /** Writes lists that were taken; what cannot be written is told, and stays in force. */
  keep(lists: OfferedLists): Promise<void>;
}

interface KeptOptions {
  /** Where this sidecar keeps things over restarts; the lists get a directory of their own in it. */
  readonly home: string;
  readonly reader: IdentityReader;
  readonly revocation: RevocationHolder;
  readonly clock: Clock;
  readonly log: Logger;
}

const LISTS = 'lists.pem';
const ISSUERS = 'issuers.pem';

/**
 * Reads what was kept and offers it as soon as there is an identity to verify it by, stale or not: what was revoked stays
 * revoked, and a list with a lower number is refused from then on (C76).
 */
export async function openKeptLists({ home, reader, revocation, clock, log }: KeptOptions): Promise<KeptLists> {
  const directory = join(home, 'crl');
  let waiting = await readKept(directory, log);

  const restore = () => {
    const material = reader.current()?.material;
    if (waiting === undefined || material === undefined) return;
    const lists = { ...waiting, allowStale: true };
    waiting = undefined;
    try {
      revocation.offer(lists, directory, material, clock.now());
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      // As after a step on trust that this sidecar missed: its issuers went with their roots.
      log.warn({ event: 'crl_kept_refused', code: error.code, why: error.why, where: directory }, error.message);
    }
  };
  restore();
  reader.subscribe(restore);

  return {
    async keep({ pem, issuersPem = '' }) {
      try {
        await writeGeneration(directory, {
          [LISTS]: { data: pem, mode: CERT_MODE },
          [ISSUERS]: { data: issuersPem, mode: CERT_MODE },
        });
      } catch (err) {
        const fields = { event: 'crl_not_kept', err, where: directory };
        log.warn(fields, 'the revocation list would be lost with this process');
      }
    },
  };
}

async function readKept(directory: string, log: Logger): Promise<OfferedLists | undefined> {
  try {
    const files = await readGeneration(directory, [LISTS, ISSUERS], { maxBytes: MAX_CRL });
    const [pem, issuersPem] = [LISTS, ISSUERS].map((name) => files.get(name)?.data.toString('latin1'));
    return pem === undefined ? undefined : { pem, issuersPem };
  } catch (err) {
    if (!isSidelockError(err)) throw err;
    log.error(
      { event: 'crl_kept_unreadable', err, where: directory },
      'the revocation list that was kept cannot be read',
    );
    return undefined;
  }
}
