import type { Notice } from '../api/wire-news.ts';
import { type Clock, type Random, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { backoffDelay } from '../base/retry.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import type { Conversation } from './conversation.ts';
import type { IdentityReader } from './identity.ts';
import type { RevocationHolder } from './revocation.ts';

interface FollowerOptions {
  readonly conversation: Pick<Conversation, 'news'>;
  readonly reader: IdentityReader;
  readonly revocation: RevocationHolder;
  /** Peers have refused this certificate of ours. */
  readonly noticed: (notices: readonly Notice[], shown: IdentityMaterial) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const RETRY = { min: SECOND, max: 30 * SECOND };

/**
 * Keeps the revocation list of the manager and hears who refused our certificate; the manager answers when there is
 * news. Resolves when the signal aborts.
 */
export async function followNews(options: FollowerOptions): Promise<void> {
  const { conversation, reader, revocation, clock, random, log, signal } = options;
  let heard = 0;
  let failed = 0;
  /** A list that does not pass, as when our clock is behind, is asked for again later: notices come meanwhile. */
  let refused = { number: 0, until: 0 };

  const takeList = ({ pem, number }: { readonly pem: string; readonly number: number }, material: IdentityMaterial) => {
    try {
      if (!revocation.offer(pem, 'of the manager', material, clock.now())) return;
    } catch (error) {
      refused = { number, until: clock.now() + RETRY.max };
      throw error;
    }
    const { entries } = revocation.current() ?? { entries: new Map() };
    log.info({ event: 'crl_loaded', number, revoked: entries.size }, `revocation list ${number} is in force`);
  };
  /** True when there was news. */
  const ask = async (material: IdentityMaterial, ended: AbortSignal) => {
    const list = clock.now() < refused.until ? refused.number : (revocation.current()?.number ?? 0);
    const seen = { crl: list, notices: heard };
    const { crl, notices } = await conversation.news(material, seen, ended);
    heard = Math.max(heard, ...notices.map(({ seq }) => seq));
    if (notices.length > 0) options.noticed(notices, material);
    if (crl !== undefined) takeList(crl, material);
    return crl !== undefined || notices.length > 0;
  };
  /** Only the holder of a certificate hears of it, so each certificate asks anew. */
  const askAs = async (material: IdentityMaterial) => {
    const renewed = new AbortController();
    const unsubscribe = reader.subscribe(() => renewed.abort());
    try {
      return await ask(material, AbortSignal.any([signal, renewed.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (renewed.signal.aborted) return true;
      if (++failed === 1) {
        const code = isSidelockError(error) ? error.code : undefined;
        log.warn({ event: 'crl_failed', code, err: error }, 'no revocation list from the manager; the last one stays');
      }
      return undefined;
    } finally {
      unsubscribe();
    }
  };
  try {
    while (!signal.aborted) {
      const identity = reader.current();
      const news = identity === undefined ? false : await askAs(identity.material);
      if (news !== undefined) failed = 0;
      const wait = news === undefined ? backoffDelay(failed, RETRY, random) : SECOND / 2;
      if (news !== true) await clock.sleep(wait, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
