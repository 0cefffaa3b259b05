import type { Clock, Random } from '../../base/clock.ts';
import { isAbort, isSidelockError, SidelockError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { backoffDelay } from '../../base/retry.ts';
import type { IdentityMaterial } from '../../pki/material.ts';
import type { IdentityHolder } from '../identity.ts';
import type { IdentityState } from '../identity-state.ts';
import type { IdentityMetrics } from '../metrics-identity.ts';

/** What lies on disk at one moment. */
export interface FileSet {
  /** Decides whether anything changed: covers names, contents, and the mode bits that may lead to a refusal. */
  readonly hash: string;
  /** All checks of our own credential. `allowExpired` is for asking for the next one. @throws SidelockError */
  load(now: number, options?: { readonly allowExpired?: boolean }): IdentityMaterial;
}

export interface ReloadContext {
  readonly holder: IdentityHolder;
  readonly state: IdentityState;
  readonly metrics: IdentityMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface ReloaderOptions extends ReloadContext {
  /**
   * Reads the files without judging them; undefined when nothing is there and that is no fault.
   * @throws SidelockError when one cannot be read.
   */
  readonly read: () => Promise<FileSet | undefined>;
  /** Where they are, for the log. */
  readonly where: string;
}

export interface Reloader {
  /**
   * Looks at the files and takes up what is new and good; the old identity serves on when it is not. Never rejects:
   * a bad set is looked at again with back-off until it is good. Calls made during a look share the one after it.
   */
  reload(): Promise<void>;
}

const RETRY = { min: 100, max: 5_000 };

/**
 * A writer that replaces one file after another passes through sets that do not fit together. So a bad set is
 * refused, in the log and in the metrics, when a second look finds it unchanged; and then once.
 */
export function createReloader(options: ReloaderOptions): Reloader {
  const { read, where, holder, state, metrics, clock, random, log, signal } = options;
  let active: string | undefined;
  let suspect: { readonly seen: string; reported: boolean } | undefined;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let retrying = false;

  const look = async () => {
    let hash = '';
    try {
      const set = await read();
      if (set === undefined && active !== undefined) throw vanished(where);
      if (set !== undefined) {
        hash = set.hash;
        if (hash !== active) takeUp(set);
      }
      suspect = undefined;
      metrics.lastReloadSuccessful.value = 1;
      state.trouble('disk', undefined);
    } catch (error) {
      if (isAbort(error)) return;
      refuse(asSidelockError(error, where), hash);
    }
  };

  const takeUp = (set: FileSet) => {
    const material = set.load(clock.now());
    const isNew = holder.offer(material);
    active = set.hash;
    if (!isNew) return;
    metrics.reloadsOk.value++;
    const { leaf, spiffeId, bundle } = material;
    log.info(
      {
        event: 'identity_loaded',
        where,
        generation: holder.current()?.generation,
        spiffeId: spiffeId.uri,
        serial: leaf.serial,
        notAfter: new Date(leaf.notAfter).toISOString(),
        bundleKeyIds: bundle.keyIds,
      },
      'took up a new identity',
    );
  };

  const refuse = (error: SidelockError, hash: string) => {
    const seen = `${hash} ${error.code}`;
    if (suspect?.seen !== seen) suspect = { seen, reported: false };
    else if (!suspect.reported) {
      suspect.reported = true;
      metrics.reloadsInvalid.value++;
      metrics.lastReloadSuccessful.value = 0;
      report(error);
    }
    state.trouble('disk', error.why === undefined ? error.message : `${error.message}: ${error.why}`);
    if (!retrying) void retry();
  };

  const report = (error: SidelockError) => {
    const old = holder.current();
    const serving = old && { serial: old.serial, notAfter: new Date(old.notAfter).toISOString() };
    const { code, message, why, fix } = error;
    const fields = { event: 'identity_refused', code, why, fix, where, serving };
    if (serving === undefined) log.error(fields, `${message}; there is no older identity to serve`);
    else log.warn(fields, `${message}; serving the previous one (serial ${serving.serial}, until ${serving.notAfter})`);
  };

  const retry = async () => {
    retrying = true;
    try {
      let seen = suspect?.seen;
      for (let attempt = 0; suspect !== undefined; attempt++) {
        await clock.sleep(backoffDelay(attempt, RETRY, random), signal);
        await reload();
        if (suspect !== undefined && suspect.seen !== seen) attempt = -1;
        seen = suspect?.seen;
      }
    } catch (error) {
      if (!isAbort(error)) log.error({ event: 'internal_error', err: error }, 'the files are no longer tried again');
    } finally {
      retrying = false;
    }
  };

  const reload = (): Promise<void> => {
    if (running === undefined) {
      running = look().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running.then(() => {
      next = undefined;
      return reload();
    });
    return next;
  };

  return { reload };
}

function vanished(where: string): SidelockError {
  return new SidelockError('SL-FS-001', `the identity files have gone from ${where}`, {
    why: 'they were there when this process read them first',
    fix: 'put them back; an identity from the manager is written again at the next renewal',
  });
}

function asSidelockError(error: unknown, where: string): SidelockError {
  if (isSidelockError(error)) return error;
  return new SidelockError('SL-FS-001', `cannot read the identity in ${where}`, {
    why: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}
