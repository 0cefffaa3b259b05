/** The levels by the guide's names for them, from the least to the gravest. */
export const AlertLevel = Object.freeze({
  INFO: 'info',
  WARNING: 'warning',
  ERROR: 'error',
  CRITICAL: 'critical',
} as const);

export type AlertLevel = (typeof AlertLevel)[keyof typeof AlertLevel];

export const ALERT_LEVELS: readonly AlertLevel[] = Object.values(AlertLevel);

/** What can be wrong; a closed list. */
type AlertRule =
  | 'CertificateExpiringSoon'
  | 'CertificateExpiryCritical'
  | 'CertificateLapsed'
  | 'CertificateUnusable'
  | 'RenewalOverdue'
  | 'RotationFailing'
  | 'CertificateNotServed'
  | 'TrustRolloverStuck'
  | 'CaExpiring'
  | 'CannotIssue';

/** One thing found wrong by one check. Rule, namespace and service together name it from check to check. */
export interface Finding {
  readonly rule: AlertRule;
  readonly level: AlertLevel;
  /** The service, or the CA by its name. */
  readonly serviceName: string;
  /** Empty for the CA. */
  readonly namespace: string;
  /** One sentence. */
  readonly message: string;
  /** A command or an edit. */
  readonly fix: string;
}

/** What handlers are told. */
export interface Alert extends Finding {
  /** The same from its beginning to its end, whatever its level becomes. */
  readonly id: string;
  readonly state: 'firing' | 'resolved';
  /** ms since the epoch. */
  readonly startsAt: number;
  /** ms since the epoch, once it is resolved. */
  readonly endsAt?: number;
}

/** Whether `level` is `least` or graver. */
export function atLeast(level: AlertLevel, least: AlertLevel): boolean {
  return ALERT_LEVELS.indexOf(level) >= ALERT_LEVELS.indexOf(least);
}
