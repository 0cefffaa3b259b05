import type { StatusAnswer } from '../../api/wire.ts';
import type { TrustStatusAnswer } from '../../api/wire-trust.ts';
import { DAY, MINUTE } from '../../base/clock.ts';
import { STUCK_MS } from '../../manager/alerts/rules.ts';
import { roughly } from '../table.ts';
import { type Finding, fault, ok } from './finding.ts';

export interface AuthorityFacts {
  readonly status: StatusAnswer;
  readonly trust: TrustStatusAnswer;
  readonly passphrase: boolean;
  /** ms since the epoch. */
  readonly now: number;
}

/** To replace a root takes every party: half a year is no long time. */
const ROOT = { error: 30 * DAY, warning: 180 * DAY };
const NAMED = 3;

/** The CA, its revocation list, and how one root follows another. */
export function checkAuthority(facts: AuthorityFacts): Finding[] {
  return [life(facts), passphrase(facts), crl(facts), rollover(facts)];
}

function life({ status: { rootNotAfter, caName }, now }: AuthorityFacts): Finding {
  const left = rootNotAfter - now;
  const summary = left > 0 ? `the root of ${caName} ends in ${roughly(left)}` : `the root of ${caName} has ended`;
  if (left >= ROOT.warning) return ok('ca.life', summary);
  const why = 'every certificate ends with it, and every peer has to learn the next one first';
  const fix = 'sidelock trust stage   makes the next root';
  return fault('ca.life', left < ROOT.error ? 'error' : 'warning', summary, { why, fix });
}

function passphrase({ passphrase }: AuthorityFacts): Finding {
  if (passphrase) return ok('ca.passphrase', 'the key of the root is encrypted');
  const why = 'whoever copies the storage can sign; a backup by `sidelock backup` is encrypted in any case';
  const fix = 'sidelock ca passphrase --new-passphrase-file FILE, then ca.passphraseFile in the config';
  return fault('ca.passphrase', 'info', 'the key of the root has no passphrase', { why, fix });
}

function crl({ status: { crl }, now }: AuthorityFacts): Finding {
  const { number, revoked, thisUpdate, nextUpdate } = crl;
  const summary = `revocation list ${number} names ${revoked}, made ${roughly(now - thisUpdate)} ago`;
  if (nextUpdate <= now) {
    const remedy = {
      why: `the next one was due ${roughly(now - nextUpdate)} ago`,
      fix: 'look at the log of the manager for crl_failed',
    };
    return fault('ca.crl', 'error', summary, remedy);
  }
  if (now - thisUpdate > 2 * DAY) {
    const remedy = { why: 'one is made each day', fix: 'look at the log of the manager for crl_failed' };
    return fault('ca.crl', 'warning', summary, remedy);
  }
  return ok('ca.crl', summary);
}

function rollover({ trust: { phase, since, roots, lacking, left, next, deadline }, now }: AuthorityFacts): Finding {
  const trusted = roots.filter(({ state }) => state !== 'gone').length;
  if (phase === 'steady') return ok('trust.rollover', 'one root, no change under way');
  const waited = now - since;
  const summary = `a new root is ${phase} for ${roughly(waited)}, ${trusted} roots are trusted`;
  const late = deadline !== undefined && deadline < now - MINUTE;
  if (waited <= STUCK_MS[phase] && !late) return ok('trust.rollover', summary);
  const named = lacking.slice(0, NAMED).map(({ service, why }) => `${service}: ${why}`);
  const more = lacking.length + left - named.length;
  const why =
    named.length === 0
      ? 'nobody stands against the next step'
      : `${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
  const fix = named.length === 0 ? next : `sidelock trust status   names who is behind; then: ${next}`;
  return fault('trust.rollover', late ? 'error' : 'warning', summary, { why, fix });
}
