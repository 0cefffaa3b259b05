import type { Cell, HistogramCell, Metrics } from '../base/metrics.ts';
import type { CrlSet } from '../pki/crl-set.ts';

export type IssuedBy = 'generate' | 'token' | 'renew' | 'pod' | 'kubelet';
type NoticeResult = 'kept' | 'repeated' | 'full' | 'unknown';
type TokenResult = 'created' | 'revoked' | 'used' | 'refused';

/** What the x509 gauges show: one certificate per service, the CA, and the manager's own. */
export interface CertificateSample {
  readonly service: string;
  readonly namespace: string;
  readonly source: 'issued' | 'ca' | 'manager';
  /** ms since the epoch. */
  readonly notBefore: number;
  /** ms since the epoch. */
  readonly notAfter: number;
}

/** Handles on the manager's metrics; names are part of the exported surface. */
export interface ManagerMetrics {
  issued(kind: IssuedBy): Cell;
  token(result: TokenResult): Cell;
  notice(result: NoticeResult): Cell;
  readonly issueDuration: HistogramCell;
  readonly auditEntries: Cell;
  readonly auditDropped: Cell;
  /** Sets where the x509 gauges come from at each scrape. */
  showCertificates(read: () => Iterable<CertificateSample>): void;
  /** Sets where the gauges of the revocation list come from. */
  showCrl(read: () => CrlSet): void;
}

export function createManagerMetrics(metrics: Metrics, version: string): ManagerMetrics {
  const issued = metrics.counter('sidelock_issued_total', 'Certificates issued, by how they were asked for.', ['kind']);
  const tokens = metrics.counter('sidelock_tokens_total', 'Join tokens, by what became of them.', ['result']);
  const notices = metrics.counter(
    'sidelock_refusal_notices_total',
    'Reports of sidecars that they refused a certificate: kept for its holder, or why not.',
    ['result'],
  );
  const duration = metrics.histogram(
    'sidelock_issue_duration_seconds',
    'Time from a checked request to a recorded certificate.',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
  );
  const audit = metrics.counter('sidelock_audit_entries_total', 'Lines written to the audit log.');
  const auditDropped = metrics.counter(
    'sidelock_audit_dropped_total',
    'Oldest lines of the audit log that were dropped, where it is kept within bounds.',
  );
  const labels = ['service', 'namespace', 'source'];
  const notAfter = metrics.gauge('x509_cert_not_after', 'End of validity, Unix time.', labels);
  const notBefore = metrics.gauge('x509_cert_not_before', 'Begin of validity, Unix time.', labels);
  const revoked = metrics.gauge('sidelock_crl_revoked', 'Certificates that the revocation list names.');
  const crlNumber = metrics.gauge('sidelock_crl_number', 'Number of the revocation list in force.');
  const nextUpdate = metrics.gauge('x509_crl_next_update', 'When the next revocation list is due, Unix time.');
  const build = metrics.gauge('sidelock_build_info', 'Always 1; the labels say what runs.', [
    'version',
    'node',
    'openssl',
  ]);
  build.with({ version, node: process.versions.node, openssl: process.versions.openssl }).value = 1;
  for (const kind of ['generate', 'token', 'renew', 'pod', 'kubelet']) issued.with({ kind });
  for (const result of ['created', 'revoked', 'used', 'refused']) tokens.with({ result });

  return {
    issued: (kind) => issued.with({ kind }),
    token: (result) => tokens.with({ result }),
    notice: (result) => notices.with({ result }),
    issueDuration: duration.with({}),
    auditEntries: audit.with({}),
    auditDropped: auditDropped.with({}),
    showCrl(read) {
      metrics.onScrape(() => {
        const crl = read();
        revoked.with({}).value = crl.entries.size;
        crlNumber.with({}).value = crl.number;
        nextUpdate.with({}).value = crl.nextUpdate / 1000;
      });
    },
    showCertificates(read) {
      metrics.onScrape(() => {
        notAfter.reset();
        notBefore.reset();
        for (const { service, namespace, source, ...dates } of read()) {
          notAfter.with({ service, namespace, source }).value = dates.notAfter / 1000;
          notBefore.with({ service, namespace, source }).value = dates.notBefore / 1000;
        }
      });
    },
  };
}
