import type { CertificateRecord } from '../../api/wire.ts';
import type { ValidationAnswer } from '../../api/wire-care.ts';
import { DAY, HOUR, MINUTE } from '../../base/clock.ts';
import { tokenCommand } from '../../base/commands.ts';
import { roughly } from '../table.ts';
import { type CheckId, type Finding, fault, orOk } from './finding.ts';

export interface CertificateFacts {
  /** The newest of each identity. */
  readonly certificates: readonly CertificateRecord[];
  readonly validation: ValidationAnswer;
  /** Hash of the trust bundle in force. */
  readonly bundle: string;
  /** How long the manager runs, and has heard sidecars, ms. */
  readonly upMs: number;
  /** Certificates that end sooner are told, ms; by their share of life unless given. */
  readonly expiryThresholdMs: number | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

/** A sidecar asks for news all the time, and what it says is noted at least once an hour. */
const SILENT_MS = 3 * HOUR;
/** Renewal, its way to disk and the next question take seconds. */
const TAKEN_UP_MS = 5 * MINUTE;
/** Who lapsed so long ago was taken away. */
const GONE_MS = 7 * DAY;
const SOON = 0.25;
const CRITICAL = 0.1;
/** So many of one kind are told; the rest is counted. */
const SHOWN = 20;

/** Every certificate, and what its sidecar does with it. */
export function checkCertificates(facts: CertificateFacts): Finding[] {
  const usable = facts.certificates.filter(({ revokedAt }) => revokedAt === undefined);
  const enrolled = usable.filter(({ by, notAfter }) => by !== 'generate' && notAfter > facts.now);
  const count = `${enrolled.length} sidecars`;
  return [
    shown(fitness(facts), 'certificates.fit', `${facts.validation.checked} certificates are as peers demand`),
    shown(
      usable.flatMap((one) => expiry(one, facts)),
      'certificates.expiry',
      `${usable.length} certificates, none near its end`,
    ),
    shown(
      enrolled.flatMap((one) => hearing(one, facts)),
      'sidecars.heard',
      `${count} are heard of`,
    ),
    shown(
      enrolled.flatMap((one) => serving(one, facts)),
      'sidecars.serving',
      `${count} serve what was issued last`,
    ),
    shown(
      enrolled.flatMap((one) => bundle(one, facts)),
      'sidecars.bundle',
      `${count} have the bundle in force`,
    ),
  ].flat();
}

/** Modes and dates have checks of their own. */
function fitness({ validation: { findings } }: CertificateFacts): Finding[] {
  return findings
    .filter(({ id }) => !['file.mode', 'ca.mode', 'ca.ends', 'cert.due', 'cert.expired'].includes(id))
    .map(({ id, severity, service, message, fix }) =>
      fault('certificates.fit', severity, `${service}: ${id}`, { why: message, fix }),
    );
}

function expiry(one: CertificateRecord, { now, expiryThresholdMs }: CertificateFacts): Finding[] {
  const { notBefore, notAfter, by } = one;
  const left = notAfter - now;
  if (left < -GONE_MS && by !== 'generate') return [];
  const share = left / (notAfter - notBefore);
  const soon = expiryThresholdMs === undefined ? share < SOON : left < expiryThresholdMs;
  if (!soon) return [];
  const status = (expiryThresholdMs === undefined && share < CRITICAL) || left <= 0 ? 'error' : 'warning';
  const summary = left > 0 ? `${nameOf(one)} ends in ${roughly(left)}` : `${nameOf(one)} ended ${roughly(left)} ago`;
  const fix =
    by === 'generate'
      ? `sidelock rotate --services ${one.service}`
      : `look at the log of its sidecar; once its grace is over: ${tokenCommand(one)}`;
  return [
    fault('certificates.expiry', status, summary, { why: `it should have been renewed before ${day(notAfter)}`, fix }),
  ];
}

function hearing(one: CertificateRecord, { now, upMs }: CertificateFacts): Finding[] {
  // One that was given another since is heard under that one's serial.
  if (now - one.issuedAt < TAKEN_UP_MS || one.supersededBy !== undefined) return [];
  const at = one.reported?.at;
  if (at === undefined || now - at < SILENT_MS || upMs < SILENT_MS) return [];
  const fix = `look whether it runs; for what never comes back: sidelock revoke --serial ${one.serial} --reason cessationOfOperation`;
  const why = 'it gets no revocation list and no new root';
  return [fault('sidecars.heard', 'warning', `${nameOf(one)} was heard of ${roughly(now - at)} ago`, { why, fix })];
}

function serving(one: CertificateRecord, { now }: CertificateFacts): Finding[] {
  // Who never said anything may be no sidecar: a program that uses the library or the API.
  const { servedSerial } = one;
  if (one.reported !== undefined || servedSerial === undefined || now - one.issuedAt < TAKEN_UP_MS) return [];
  const summary = `${nameOf(one)} does not serve what it was given ${roughly(now - one.issuedAt)} ago`;
  const why = `it shows serial ${servedSerial}, issued last was ${one.serial}`;
  const fix = 'look at /identity and /readyz of its sidecar: its disk may be full, or it does not run';
  return [fault('sidecars.serving', 'warning', summary, { why, fix })];
}

function bundle(one: CertificateRecord, { bundle, now }: CertificateFacts): Finding[] {
  const { reported } = one;
  if (reported === undefined || reported.bundle === bundle) return [];
  const why = `it said so ${roughly(now - reported.at)} ago`;
  const fix = `look at the log of its sidecar for trust_changed and crl_failed`;
  return [fault('sidecars.bundle', 'warning', `${nameOf(one)} serves with another trust bundle`, { why, fix })];
}

function shown(faults: readonly Finding[], id: CheckId, summary: string): readonly Finding[] {
  const hidden = faults.length - SHOWN;
  if (hidden <= 0) return orOk(faults, id, summary);
  const worst = faults.some(({ status }) => status === 'error') ? 'error' : 'warning';
  return [...faults.slice(0, SHOWN), fault(id, worst, `and ${hidden} more`, { fix: 'correct those above first' })];
}

function nameOf({ service, namespace }: CertificateRecord): string {
  return namespace === 'default' ? service : `${namespace}/${service}`;
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
