import type { NewsAnswer, Notice } from '../api/wire-news.ts';
import { type Clock, type Random, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { askedToWait, backoffDelay } from '../base/retry.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import type { Conversation } from './conversation.ts';
import type { IdentityReader } from './identity.ts';
import type { KeptLists } from './kept-lists.ts';
import type { RevocationHolder } from './revocation.ts';

interface FollowerOptions {
  readonly conversation: Pick<Conversation, 'news'>;
  readonly reader: IdentityReader;
  readonly revocation: RevocationHolder;
  readonly kept: KeptLists;
  /** Serves with another bundle and the certificate there is. @throws SL-CERT-003 when that one needs a root that went */
  readonly takeBundle: (pem: string) => Promise<void>;
  /** Asks for another certificate now; resolves whether or not there is one. */
  readonly renew: () => Promise<void>;
  /** Open connections by the root that vouches for the peer (SHA-256). */
  readonly peers: () => ReadonlyMap<string, number> | Promise<ReadonlyMap<string, number>>;
  /** Peers have refused this certificate of ours. */
  readonly noticed: (notices: readonly Notice[], shown: IdentityMaterial) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

type Lists = NonNullable<NewsAnswer['crl']>;
type TrustNews = NonNullable<NewsAnswer['trust']>;

const RETRY = { min: SECOND, max: 30 * SECOND };

/**
 * Tells the manager what is served, and takes up what it answers when there is news: roots, revocations, that our
 * certificate is to be replaced, who refused it. Resolves when the signal aborts.
 */
export async function followNews(options: FollowerOptions): Promise<void> {
  const { conversation, reader, revocation, kept, clock, random, log, signal } = options;
  let heard = 0;
  let failed = 0;
  let atLeast = 0;
  /** A list that does not pass, as when our clock is behind, is asked for again later: notices come meanwhile. */
  let refused = { number: 0, until: 0 };

  const takeLists = async ({ pem, number, issuers }: Lists, material: IdentityMaterial) => {
    const lists = { pem, issuersPem: issuers };
    try {
      if (!revocation.offer(lists, 'of the manager', material, clock.now())) return;
    } catch (error) {
      refused = { number, until: clock.now() + RETRY.max };
      throw error;
    }
    const { entries } = revocation.current() ?? { entries: new Map() };
    log.info({ event: 'crl_loaded', number, revoked: entries.size }, `revocation list ${number} is in force`);
    await kept.keep(lists);
  };
  const followTrust = async (
    { bundle, sha256, renew }: TrustNews,
    { bundle: { sha256: served } }: IdentityMaterial,
  ) => {
    if (sha256 === served) return;
    log.info({ event: 'trust_changed', from: served, to: sha256 }, 'the manager has another bundle');
    try {
      await options.takeBundle(bundle);
    } catch (error) {
      // The root of our certificate is gone: the next certificate brings the bundle along.
      if (!renew || !isSidelockError(error, 'SL-CERT-003')) throw error;
    }
  };
  const replace = async ({ spreadMs }: TrustNews, { leaf: { serial } }: IdentityMaterial) => {
    const done = () => reader.current()?.serial !== serial;
    await clock.sleep(random() * spreadMs, signal);
    if (!done()) await options.renew();
    if (!done())
      throw new SidelockError('SL-MGR-002', 'the manager wants our certificate replaced, and gave no other one');
  };
  /** True when there was news. */
  const ask = async (material: IdentityMaterial, ended: AbortSignal) => {
    const list = clock.now() < refused.until ? refused.number : (revocation.current()?.number ?? 0);
    const seen = { crl: list, notices: heard, bundle: material.bundle.sha256, peers: await options.peers() };
    const { crl, notices, trust } = await conversation.news(material, seen, ended);
    heard = Math.max(heard, ...notices.map(({ seq }) => seq));
    if (notices.length > 0) options.noticed(notices, material);
    // Roots come before the lists that their issuers made.
    if (trust !== undefined) await followTrust(trust, material);
    if (crl !== undefined) await takeLists(crl, reader.current()?.material ?? material);
    if (trust?.renew === true) await replace(trust, material);
    return crl !== undefined || trust !== undefined || notices.length > 0;
  };
  /** Only the holder of a certificate hears of it, so each certificate asks anew. */
  const askAs = async (material: IdentityMaterial) => {
    const renewed = new AbortController();
    const unsubscribe = reader.subscribe(() => renewed.abort());
    try {
      return await ask(material, AbortSignal.any([signal, renewed.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (renewed.signal.aborted && isAbort(error)) return true;
      atLeast = askedToWait(error, random);
      if (++failed === 1) {
        const code = isSidelockError(error) ? error.code : undefined;
        log.warn(
          { event: 'crl_failed', code, err: error },
          'no news from the manager; the last roots and revocation list stay',
        );
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
      const wait = news === undefined ? Math.max(atLeast, backoffDelay(failed, RETRY, random)) : SECOND / 2;
      if (news !== true) await clock.sleep(wait, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
