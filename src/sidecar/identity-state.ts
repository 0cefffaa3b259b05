import { type Clock, DAY, HOUR, SECOND } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Readiness } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { Identity, IdentityReader } from './identity.ts';

/** The blocker that stands while there is no identity that peers would accept. */
const IDENTITY_BLOCKER = 'identity';

const TICK_MS = 30 * SECOND;
const WARN_BEFORE_MS = [7 * DAY, DAY, HOUR];

interface IdentityStateOptions {
  readonly reader: IdentityReader;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Says in `/readyz` whether there is a usable identity, and if not, why. */
export interface IdentityState {
  /** Sets the reason why that side gives no newer identity; undefined takes it away. */
  trouble(side: 'disk' | 'manager', why: string | undefined): void;
}

/**
 * Blocks readiness until there is an identity and whenever its leaf is past its end, by wall clock: a clock that
 * jumps is noticed within 30 s in both directions. Warns 7 days, 1 day and 1 hour before the end of a leaf that
 * should have been replaced by then.
 */
export function trackIdentity({ reader, readiness, clock, log, signal }: IdentityStateOptions): IdentityState {
  const troubles = new Map<string, string>();
  let expired = false;
  let warned: { serial: string; at: number } | undefined;

  const evaluate = () => {
    const identity = reader.current();
    const why = whyNot();
    if (identity === undefined) return readiness.block(IDENTITY_BLOCKER, why ?? 'no certificate yet');
    const left = identity.notAfter - clock.now();
    if (left > 0) readiness.unblock(IDENTITY_BLOCKER);
    else readiness.block(IDENTITY_BLOCKER, expiredText(identity, why));
    if (left <= 0 && !expired) {
      log.error(
        { ...fields(identity), event: 'identity_expired', code: 'SL-CERT-001', why },
        expiredText(identity, why),
      );
    }
    expired = left <= 0;
    warn(identity, left);
  };

  const whyNot = () => (troubles.size === 0 ? undefined : [...troubles.values()].join('; '));

  const warn = (identity: Identity, left: number) => {
    const life = identity.notAfter - identity.notBefore;
    const at = WARN_BEFORE_MS.filter((before) => before < life / 4 && left <= before).at(-1);
    if (at === undefined || left <= 0) return;
    if (warned?.serial === identity.serial && warned.at <= at) return;
    warned = { serial: identity.serial, at };
    log.warn(
      { ...fields(identity), event: 'identity_expiring', secondsLeft: Math.floor(left / SECOND), why: whyNot() },
      `our certificate ends at ${new Date(identity.notAfter).toISOString()} and has not been replaced`,
    );
  };

  const watch = async () => {
    while (!signal.aborted) {
      const left = (reader.current()?.notAfter ?? 0) - clock.now();
      await clock.sleep(left > 0 ? Math.min(left, TICK_MS) : TICK_MS, signal);
      evaluate();
    }
  };

  signal.addEventListener('abort', reader.subscribe(evaluate), { once: true });
  evaluate();
  watch().catch((error: unknown) => {
    if (!isAbort(error)) log.error({ event: 'internal_error', err: error }, 'the watch over the identity has ended');
  });
  return {
    trouble(side, why) {
      if (why === undefined) troubles.delete(side);
      else troubles.set(side, why);
      evaluate();
    },
  };
}

function expiredText(identity: Identity, why: string | undefined): string {
  const text = `our certificate expired at ${new Date(identity.notAfter).toISOString()}`;
  return why === undefined ? text : `${text}; ${why}`;
}

function fields(identity: Identity) {
  return { spiffeId: identity.spiffeId, serial: identity.serial, notAfter: new Date(identity.notAfter).toISOString() };
}
