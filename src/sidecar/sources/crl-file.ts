import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { isSidelockError, SidelockError } from '../../base/errors.ts';
import { createTurns } from '../../base/in-turn.ts';
import { MAX_CRL } from '../../pki/crl.ts';
import { readGeneration } from '../../store/generation.ts';
import { watchDirectory } from '../../store/watch.ts';
import type { KeptLists } from '../kept-lists.ts';
import type { WatchOptions } from '../options.ts';
import type { RevocationHolder } from '../revocation.ts';
import type { ReloadContext } from './reload.ts';

interface CrlFileOptions extends Pick<ReloadContext, 'holder' | 'clock' | 'log' | 'signal'>, WatchOptions {
  /** PEM, one list an issuer, written by somebody else; may be a file of a mounted volume. */
  readonly file: string;
  readonly revocation: RevocationHolder;
  readonly kept: KeptLists | undefined;
}

/**
 * Takes up the revocation lists of a file whenever it changes, stale or not, and again when there is another identity,
 * which may trust other issuers. What is refused is told once; the lists before stay (C73, C75, C76).
 */
export async function followCrlFile(options: CrlFileOptions): Promise<AsyncDisposable> {
  const { file, holder, revocation, kept, clock, log, signal, debounceMs, pollMs } = options;
  let taken: string | undefined;
  let told: string | undefined;

  const lookNow = async () => {
    const material = holder.current()?.material;
    if (material === undefined) return;
    let seen = material.bundle.sha256;
    try {
      const pem = await read(file);
      seen = `${createHash('sha256').update(pem).digest('hex')} ${seen}`;
      if (seen === taken) return;
      const isNew = revocation.offer({ pem, allowStale: true }, file, material, clock.now());
      taken = seen;
      told = undefined;
      if (!isNew) return;
      const { number, entries } = revocation.current() ?? { number: 0, entries: new Map() };
      log.info(
        { event: 'crl_loaded', number, revoked: entries.size, where: file },
        `revocation list ${number} is in force`,
      );
      await kept?.keep({ pem });
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      if (told === seen) return;
      told = seen;
      const { code, why, fix, data, message } = error;
      log.warn(
        { event: 'crl_failed', code, reason: data['reason'], why, fix, where: file },
        `${message}; what was in force stays`,
      );
    }
  };

  const turns = createTurns();
  const look = () => turns(file, lookNow);
  await look();
  const watching = await watchDirectory({ dir: dirname(file), debounceMs, pollMs, log, signal, onChange: look });
  const unsubscribe = holder.subscribe(() => {
    look().catch((error: unknown) =>
      log.error({ event: 'crl_failed', where: file, err: error }, `cannot read ${file}`),
    );
  });
  return {
    async [Symbol.asyncDispose]() {
      unsubscribe();
      await watching[Symbol.asyncDispose]();
    },
  };
}

async function read(file: string): Promise<string> {
  const found = (await readGeneration(dirname(file), [basename(file)], { maxBytes: MAX_CRL })).get(basename(file));
  if (found !== undefined) return found.data.toString('latin1');
  throw new SidelockError('SL-FS-001', `there is no revocation list ${file}`, {
    data: { path: file, reason: 'ENOENT' },
  });
}
