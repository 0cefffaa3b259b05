import { isSidelockError, type SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Obtained } from './enroll.ts';
import type { IdentityReader } from './identity.ts';
import type { IdentityState } from './identity-state.ts';
import type { RenewalMetrics, RenewalReason } from './metrics-identity.ts';

interface RenewalReportOptions {
  readonly reader: IdentityReader;
  readonly state: IdentityState;
  readonly metrics: RenewalMetrics;
  readonly log: Logger;
}

/** Tells log, metrics and readiness how the attempts to get a certificate went. */
export interface RenewalReport {
  ok(obtained: Obtained, how: 'enrolled' | 'renewed'): void;
  failed(error: unknown): void;
}

/** A failure that goes on is one line when it begins or changes, then at the 2nd, 4th, 8th … attempt. */
export function createRenewalReport({ reader, state, metrics, log }: RenewalReportOptions): RenewalReport {
  let failures = 0;
  let last: string | undefined;

  return {
    ok({ material }, how) {
      failures = 0;
      last = undefined;
      metrics.ok();
      state.trouble('manager', undefined);
      const { leaf, spiffeId } = material;
      log.info(
        { event: how, spiffeId: spiffeId.uri, serial: leaf.serial, notAfter: new Date(leaf.notAfter).toISOString() },
        how === 'enrolled' ? 'enrolled with the manager' : 'renewed the certificate',
      );
    },

    failed(error) {
      failures++;
      const reason = reasonOf(error);
      metrics.failed(reason);
      state.trouble('manager', textOf(error));
      const changed = last !== reason;
      last = reason;
      if (!changed && (failures & (failures - 1)) !== 0) return;

      const current = reader.current();
      const serving = current && { serial: current.serial, notAfter: new Date(current.notAfter).toISOString() };
      const details = isSidelockError(error) ? pick(error) : { err: error };
      const fields = { event: 'renewal_failed', reason, attempts: failures, serving, ...details };
      const text = isSidelockError(error) ? error.message : 'no new certificate, for an unexpected reason';
      if (serving === undefined) log.error(fields, `${text}; there is no identity to serve`);
      else log.warn(fields, `${text}; serving goes on until ${serving.notAfter}`);
    },
  };
}

function pick({ code, why, fix }: SidelockError) {
  return { code, why, fix };
}

function textOf(error: unknown): string {
  if (!isSidelockError(error)) return 'no certificate, for an unexpected reason (see the log)';
  return error.why === undefined ? error.message : `${error.message}: ${error.why}`;
}

function reasonOf(error: unknown): RenewalReason {
  if (!isSidelockError(error)) return 'internal';
  const { code, data } = error;
  if (code === 'SL-TOK-001' && data['missing'] === true) return 'no_token';
  return REASONS.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 'refused';
}

/** The first that fits. */
const REASONS: ReadonlyArray<readonly [prefix: string, reason: RenewalReason]> = [
  ['SL-MGR-001', 'unreachable'],
  ['SL-MGR-002', 'bad_answer'],
  ['SL-TOK-', 'token'],
  ['SL-API-003', 'rate_limited'],
  ['SL-FS-', 'disk'],
  ['SL-CERT-004', 'disk'],
];
