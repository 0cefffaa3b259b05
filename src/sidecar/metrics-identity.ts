import type { Cell, Metrics } from '../base/metrics.ts';
import type { IdentityReader } from './identity.ts';
import type { RevocationHolder } from './revocation.ts';

/** Why a certificate could not be had; the closed set behind `sidelock_renewals_total{reason}`. */
export const RENEWAL_REASONS = [
  'none',
  'unreachable',
  'bad_answer',
  'refused',
  'token',
  'no_token',
  'rate_limited',
  'disk',
  'internal',
] as const;
export type RenewalReason = (typeof RENEWAL_REASONS)[number];

export interface IdentityMetrics {
  readonly reloadsOk: Cell;
  readonly reloadsInvalid: Cell;
  readonly lastReloadSuccessful: Cell;
}

export interface RenewalMetrics {
  ok(): void;
  failed(reason: RenewalReason): void;
  readonly managerUp: Cell;
  /** Seconds by which our clock is ahead of the manager's. */
  readonly clockSkew: Cell;
  /** Unix time, seconds. */
  readonly renewalDue: Cell;
}

/** With a label there is no series before there is a leaf: 0 would read as expired in 1970. */
const LEAF = { kind: 'leaf' };

/** Gauges and counters every identity source has; those of the leaf follow `reader` at each scrape. */
export function identityMetrics(metrics: Metrics, reader: IdentityReader): IdentityMetrics {
  const reloads = metrics.counter('sidelock_reload_total', 'Identities taken up or refused, by distinct content.', [
    'result',
  ]);
  const generation = metrics.gauge('sidelock_identity_generation', 'Identities this process has taken up.');
  const notBefore = metrics.gauge('x509_cert_not_before', 'Start of our own leaf, Unix time in seconds.', ['kind']);
  const notAfter = metrics.gauge('x509_cert_not_after', 'End of our own leaf, Unix time in seconds.', ['kind']);
  const bundle = metrics.gauge(
    'sidelock_trust_bundle_info',
    'The trust bundle in use: short hash and number of roots.',
    ['bundle_generation', 'roots'],
  );
  metrics.onScrape(() => {
    const identity = reader.current();
    if (identity === undefined) return;
    const { sha256, roots } = identity.material.bundle;
    generation.with({}).value = identity.generation;
    notBefore.with(LEAF).value = Math.floor(identity.notBefore / 1000);
    notAfter.with(LEAF).value = Math.floor(identity.notAfter / 1000);
    bundle.reset();
    bundle.with({ bundle_generation: sha256.slice(0, 12), roots: String(roots.length) }).value = 1;
  });
  return {
    reloadsOk: reloads.with({ result: 'ok' }),
    reloadsInvalid: reloads.with({ result: 'invalid' }),
    lastReloadSuccessful: metrics
      .gauge('sidelock_last_reload_successful', '1 when what is on disk is what is served, else 0.')
      .with({}),
  };
}

/** No series before there is a list: a number without one would look like a list of 1970. */
export function showCrl(metrics: Metrics, revocation: Pick<RevocationHolder, 'current'>): void {
  const revoked = metrics.gauge('sidelock_crl_revoked', 'Certificates that the revocation lists name.');
  const number = metrics.gauge('sidelock_crl_number', 'Number of the revocation list in force.');
  const nextUpdate = metrics.gauge('x509_crl_next_update', 'When the next revocation list is due, Unix time.');
  metrics.onScrape(() => {
    const lists = revocation.current();
    if (lists === undefined) return;
    revoked.with({}).value = lists.entries.size;
    number.with({}).value = lists.number;
    nextUpdate.with({}).value = lists.nextUpdate / 1000;
  });
}

/** What only a source that talks to the manager has. */
export function renewalMetrics(metrics: Metrics): RenewalMetrics {
  const renewals = metrics.counter('sidelock_renewals_total', 'Certificates asked of the manager.', [
    'result',
    'reason',
  ]);
  const up = metrics.gauge('sidelock_manager_up', '1 when the manager answered the last request, else 0.');
  const skew = metrics.gauge('sidelock_clock_skew_seconds', 'How far our clock is ahead of that of the manager.');
  const due = metrics.gauge('sidelock_renewal_due_timestamp_seconds', 'When the next renewal is due, Unix time.');
  // Born with 0: increase() does not see the first success of a series that appears with it.
  const ok = renewals.with({ result: 'ok', reason: 'none' });
  return {
    ok: () => void ok.value++,
    failed: (reason) => void renewals.with({ result: 'failed', reason }).value++,
    managerUp: startingAt(1, up.with({})),
    clockSkew: skew.with({}),
    renewalDue: due.with({}),
  };
}

/** Until it was asked nothing speaks against the manager, and an alarm at each start would be ignored soon. */
function startingAt(value: number, cell: Cell): Cell {
  cell.value = value;
  return cell;
}
