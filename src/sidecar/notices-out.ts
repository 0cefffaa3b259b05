import { MAX_NOTICES, type NoticeReport } from '../api/wire-news.ts';
import { type Clock, MINUTE, type Random, SECOND } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { askedToWait, backoffDelay } from '../base/retry.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { PeerPurpose, RefusalReason } from '../pki/peer-reasons.ts';

/** A certificate whose holder proved to have the key, and was refused all the same. */
interface Refused {
  readonly leaf: Pick<Certificate, 'serial' | 'fingerprint256'>;
  /** What the holder was to us. */
  readonly role: PeerPurpose;
  readonly reason: RefusalReason;
}

/** Lets those whom we refuse hear why, by way of the manager. */
export interface NoticesOut {
  /** Costs a look into a map when the same was said lately; in a flood most is dropped. */
  add(refused: Refused): void;
  /** Sends what was added, as it comes, until the signal aborts; nothing is taken before. */
  deliver(send: (refused: readonly NoticeReport[]) => Promise<void>, signal: AbortSignal): Promise<void>;
}

interface NoticesOutOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The same refusal is reported again after this long. */
const AGAIN = 30 * SECOND;
const MAX_KNOWN = 1_000;
/** Anybody can make certificates of CAs that we do not know: they must not take the room of the others. */
const MAX_STRANGERS = 4;
const STRANGERS: ReadonlySet<RefusalReason> = new Set([
  'malformed',
  'self_signed',
  'unknown_ca',
  'chain_incomplete',
  'bad_signature',
]);
const RETRY = { min: SECOND, max: 30 * SECOND };

export function createNoticesOut({ clock, random, log }: NoticesOutOptions): NoticesOut {
  const known = new Map<string, number>();
  let pending: NoticeReport[] = [];
  let delivering = false;
  let wake = () => {};

  const send = async (deliver: (refused: readonly NoticeReport[]) => Promise<void>): Promise<true | number> => {
    const batch = pending;
    pending = [];
    try {
      await deliver(batch);
      return true;
    } catch (error) {
      if (isAbort(error)) throw error;
      log.debug({ event: 'notices_failed', err: error }, 'the manager did not take who was refused here');
      const young = batch.filter(({ at }) => clock.now() - at < MINUTE);
      pending = [...young, ...pending].slice(0, MAX_NOTICES);
      return askedToWait(error, random);
    }
  };

  return {
    add({ leaf: { serial, fingerprint256 }, role, reason }) {
      if (!delivering) return;
      const now = clock.now();
      const key = `${fingerprint256} ${role} ${reason}`;
      if (now - (known.get(key) ?? 0) < AGAIN) return;
      const stranger = STRANGERS.has(reason);
      const before = stranger ? pending.filter((one) => STRANGERS.has(one.reason)) : pending;
      if (before.length >= (stranger ? MAX_STRANGERS : MAX_NOTICES)) return;
      known.delete(key);
      known.set(key, now);
      const [oldest] = known.keys();
      if (known.size > MAX_KNOWN && oldest !== undefined) known.delete(oldest);
      pending.push({ serial, fingerprint256, role, reason, at: now });
      wake();
    },
    async deliver(to, signal) {
      delivering = true;
      let failed = 0;
      try {
        for (;;) {
          const { promise, resolve, reject } = Promise.withResolvers<void>();
          wake = resolve;
          const aborted = () => reject(signal.reason);
          signal.addEventListener('abort', aborted, { once: true });
          if (pending.length > 0) resolve();
          signal.throwIfAborted();
          await promise;
          signal.removeEventListener('abort', aborted);
          const sent = await send(to);
          failed = sent === true ? 0 : failed + 1;
          const wait = sent === true ? SECOND / 2 : Math.max(sent, backoffDelay(failed - 1, RETRY, random));
          await clock.sleep(wait, signal);
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        delivering = false;
      }
    },
  };
}
