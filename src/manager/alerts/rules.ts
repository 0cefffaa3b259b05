import { DAY, HOUR } from '../../base/clock.ts';
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
}

/** Shares of the life: days would fire for ever for short leaves, and too late for long ones. */
const SOON = 0.25;
const CRITICAL = 0.1;
/** A sidecar that was taken away leaves a certificate behind: nobody is woken for it for ever. */
const LAPSED_MS = 7 * DAY;
const FORGOTTEN_MS = 30 * DAY;

/** What is wrong with one certificate at `now`: nothing, or what is worst about its end, and what else. */
export function judgeCertificate(facts: CertificateFacts, now: number): Finding[] {
  const { service, namespace, held, notBefore, notAfter, renewAt, unusable, rotationFailure } = facts;
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
export function judgeAuthority({ name, notBefore, notAfter, blockers }: AuthorityFacts, now: number): Finding[] {
  const left = notAfter - now;
  const life = notAfter - notBefore;
  const about = { serviceName: name, namespace: '' };
  const found: Finding[] = blockers.map((why) => ({
    ...{ ...about, rule: 'CannotIssue', level: 'critical', message: `no certificate can be issued: ${why}` },
    fix: 'correct the clock of this machine, or give the CA a new root',
  }));
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
