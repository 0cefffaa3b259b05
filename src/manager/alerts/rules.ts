import { DAY, HOUR, MINUTE } from '../../base/clock.ts';
import { span } from '../../pki/text.ts';
import type { TrustPhase } from '../trust-state.ts';
import type { Finding } from './alert.ts';

/** What is known of one certificate. Times are ms since the epoch. */
export interface CertificateFacts {
  readonly service: string;
  readonly namespace: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly renewAt: number;
  /** Its key lies in the store of this manager, which renews it; else its sidecar does. */
  readonly held: boolean;
  /** Since when its sidecar, which showed one before, has not shown it. */
  readonly unservedSince?: number;
  /** Why what lies in the store cannot be served. */
  readonly unusable?: string;
  /** Why its last rotation failed. */
  readonly rotationFailure?: string;
}

export interface AuthorityFacts {
  readonly name: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Why nothing can be issued now. */
  readonly blockers: readonly string[];
  /** Where the succession of roots stands. */
  readonly rollover?: {
    readonly phase: TrustPhase;
    /** When the last step was taken. */
    readonly since: number;
    /** Sidecars that stand against the next. */
    readonly behind: number;
  };
}

/** A step on trust that is not followed by the next one: two roots can sign for longer than they have to. */
export const STUCK_MS: Readonly<Record<Exclude<TrustPhase, 'steady'>, number>> = {
  staged: DAY,
  active: 7 * DAY,
  compromised: 15 * MINUTE,
};
/** Renewal, its way to disk and the next question take seconds. */
const TAKEN_UP_MS = 10 * MINUTE;

/** Shares of the life: days would fire for ever for short leaves, and too late for long ones. */
const SOON = 0.25;
const CRITICAL = 0.1;
/** A sidecar that was taken away leaves a certificate behind: nobody is woken for it for ever. */
const LAPSED_MS = 7 * DAY;
const FORGOTTEN_MS = 30 * DAY;

/** What is wrong with one certificate at `now`: nothing, or what is worst about its end, and what else. */
export function judgeCertificate(facts: CertificateFacts, now: number): Finding[] {
  const { service, namespace, held, notBefore, notAfter, renewAt, unservedSince, unusable, rotationFailure } = facts;
  const left = notAfter - now;
  const share = left / (notAfter - notBefore);
  const found: Finding[] = [];
  const add = (rule: Finding['rule'], level: Finding['level'], message: string, fix: string) =>
    found.push({ rule, level, serviceName: service, namespace, message, fix });
  const renew = held
    ? `sidelock generate --service ${service}   makes a new one`
    : `look at /readyz of the sidecar of ${service}; it needs a new join token once its grace is over`;

  if (left <= -LAPSED_MS && !held) {
    if (left > -FORGOTTEN_MS)
      add('CertificateLapsed', 'info', `${service} has not renewed since ${day(notAfter)}`, renew);
  } else if (share < CRITICAL) {
    const what = left > 0 ? `ends ${when(notAfter)}` : `ended ${when(notAfter)}`;
    add('CertificateExpiryCritical', 'critical', `the certificate of ${service} ${what}`, renew);
  } else if (share < SOON) {
    add('CertificateExpiringSoon', 'warning', `the certificate of ${service} ends ${when(notAfter)}`, renew);
  } else if (now > renewAt + Math.min(HOUR, (notAfter - renewAt) / 4)) {
    add('RenewalOverdue', 'warning', `${service} should have renewed ${when(renewAt)}`, renew);
  }
  if (unservedSince !== undefined && left > 0 && now - unservedSince > TAKEN_UP_MS) {
    const message = `the sidecar of ${service} does not serve what it was given ${span(now - unservedSince)} ago`;
    const fix = `look at /identity and /readyz of the sidecar of ${service}: its disk may be full`;
    add('CertificateNotServed', 'warning', message, fix);
  }
  if (unusable !== undefined) {
    const mend = `put the three files of ${service} back, or remove its directory and: sidelock generate --service ${service}`;
    add('CertificateUnusable', 'error', `the files of ${service} cannot be served: ${unusable}`, mend);
  }
  if (rotationFailure !== undefined) {
    const fix = 'correct what the message names; it is tried again every minute';
    add('RotationFailing', 'error', `the rotation of ${service} failed: ${rotationFailure}`, fix);
  }
  return found;
}

/** What is wrong with the certificate authority itself. */
export function judgeAuthority(facts: AuthorityFacts, now: number): Finding[] {
  const { name, notBefore, notAfter, blockers, rollover } = facts;
  const left = notAfter - now;
  const life = notAfter - notBefore;
  const about = { serviceName: name, namespace: '' };
  const found: Finding[] = blockers.map((why) => ({
    ...{ ...about, rule: 'CannotIssue', level: 'critical', message: `no certificate can be issued: ${why}` },
    fix: 'correct the clock of this machine, or give the CA a new root',
  }));
  if (rollover !== undefined && rollover.phase !== 'steady' && now - rollover.since > STUCK_MS[rollover.phase]) {
    const { phase, since, behind } = rollover;
    found.push({
      ...{ ...about, rule: 'TrustRolloverStuck', level: phase === 'compromised' ? 'critical' : 'warning' },
      message: `a new root is ${phase} for ${span(now - since)}, and ${behind} sidecars are behind`,
      fix: 'sidelock trust status   names who is behind, and the next step',
    });
  }
  if (left < Math.min(180 * DAY, life * SOON)) {
    const level = left < Math.min(30 * DAY, life * CRITICAL) ? 'critical' : 'warning';
    const message = `the root of ${name} ends ${when(notAfter)}, and every certificate with it`;
    found.push({
      ...about,
      rule: 'CaExpiring',
      level,
      message,
      fix: 'plan a new root now: every peer must learn it first',
    });
  }
  return found;
}

function when(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}

function day(time: number): string {
  return when(time).slice(0, 10);
}
