import { DAY } from '../base/clock.ts';
import type { CrlSet } from '../pki/crl-set.ts';
import type { Alert, AlertLevel } from './alerts/alert.ts';
import type { Edge } from './edges.ts';
import type { Health, ServiceHealth } from './health.ts';
import type { InventoryEntry } from './inventory.ts';
import type { Served } from './served.ts';
import type { TimingSummary } from './timings.ts';
import type { TrustStatus } from './trust.ts';

/** Keys as the guide has them, in snake case, in the library as in JSON. Times are RFC 3339, in UTC. */
export interface DashboardData {
  readonly generated_at: string;
  readonly version: string;
  readonly ca: {
    readonly name: string;
    readonly root_sha256: string;
    readonly not_after: string;
    readonly days_left: number;
  };
  readonly metrics: CertificateCounts;
  readonly health: {
    readonly checked_at: string;
    readonly summary: {
      readonly total_services: number;
      readonly healthy_services: number;
      readonly unhealthy_services: number;
      /** Services without a finding of level warning or graver; 100 when there is none at all. */
      readonly health_percentage: number;
    };
  };
  /** How many certificates end within so many days and not within fewer; `null` is all beyond, 0 has ended. */
  readonly expiry: ReadonlyArray<{ readonly within_days: number | null; readonly certificates: number }>;
  /** What was issued last, newest first. */
  readonly rotations: ReadonlyArray<{
    readonly at: string;
    readonly service: string;
    readonly namespace: string;
    readonly serial: string;
    readonly kind: InventoryEntry['by'];
  }>;
  readonly alerts: {
    readonly by_level: Readonly<Record<AlertLevel, number>>;
    readonly active: readonly AlertRecord[];
    readonly recent: readonly AlertRecord[];
  };
  readonly trust: TrustRecord;
  /** Who talks to whom, those without TLS first; `edges_left` counts what is beyond. */
  readonly edges: readonly Edge[];
  readonly edges_left: number;
  readonly performance: Performance;
  /** One point at each collection, oldest first; the last 288. */
  readonly history: readonly HistoryPoint[];
}

/** The roots, and how one follows another. */
interface TrustRecord {
  readonly phase: TrustStatus['phase'];
  /** When the last step was taken; null before the first. */
  readonly since: string | null;
  /** When the old roots go anyway. */
  readonly deadline: string | null;
  readonly roots: ReadonlyArray<{
    readonly number: number;
    readonly subject: string;
    readonly sha256: string;
    readonly not_after: string;
    readonly state: TrustStatus['roots'][number]['state'];
    readonly certificates: number;
  }>;
  /** Sidecars, and how many have confirmed the bundle in force. */
  readonly sidecars: { readonly total: number; readonly confirmed: number };
  /** Who stands against the next step, and how many more. */
  readonly lacking: ReadonlyArray<{
    readonly service: string;
    readonly namespace: string;
    readonly why: string;
    readonly until: string;
  }>;
  readonly left: number;
  readonly next: string;
  readonly crl: { readonly number: number; readonly revoked: number; readonly next_update: string };
}

interface CertificateCounts {
  readonly total_certificates: number;
  readonly valid_certificates: number;
  /** A quarter of their life is left, or less. */
  readonly expiring_certificates: number;
  readonly expired_certificates: number;
  /** Not counted above. */
  readonly revoked_certificates: number;
  readonly held_by_manager: number;
  readonly next_expiry: string | null;
  readonly next_renewal: string | null;
}

export interface Performance {
  readonly certificate_load: TimingSummary;
  readonly ssl_context: TimingSummary;
  readonly validation: TimingSummary;
  readonly health_check: TimingSummary;
}

export interface HistoryPoint {
  readonly at: string;
  readonly total_certificates: number;
  readonly health_percentage: number;
  readonly load_p95_ms: number;
  readonly context_p95_ms: number;
  readonly validation_p95_ms: number;
}

export interface AlertRecord {
  readonly id: string;
  readonly rule: string;
  readonly level: AlertLevel;
  readonly state: Alert['state'];
  readonly service_name: string;
  readonly namespace: string;
  readonly message: string;
  readonly fix: string;
  readonly starts_at: string;
  readonly ends_at: string | null;
}

/** One line of the inventory. */
export interface CertificateLine {
  readonly service: string;
  readonly namespace: string;
  readonly type: string;
  readonly serial: string;
  readonly spiffe_id: string;
  readonly key_type: string;
  readonly not_before: string;
  readonly not_after: string;
  readonly renew_at: string;
  readonly days_left: number;
  /** Of its life; 0 when it has ended. */
  readonly share_left: number;
  readonly held_by: 'manager' | 'sidecar';
  readonly status: ServiceHealth['status'];
  /** What its sidecar said last; null when none was ever heard of. */
  readonly serves: {
    readonly serial: string;
    readonly bundle: 'current' | 'other';
    readonly heard_at: string;
  } | null;
}

const BUCKETS = [0, 1, 7, 14, 30, 60, 90] as const;
const RECENT_ALERTS = 50;
const LACKING = 50;
const EDGES = 500;

interface Sources {
  readonly version: string;
  readonly ca: { readonly caName: string; readonly rootSha256: string; readonly rootNotAfter: number };
  readonly health: Health;
  readonly issued: readonly InventoryEntry[];
  readonly alerts: { readonly active: readonly Alert[]; readonly recent: readonly Alert[] };
  readonly trust: TrustStatus;
  readonly edges: readonly Edge[];
  readonly crl: Pick<CrlSet, 'number' | 'entries' | 'nextUpdate'>;
  readonly performance: Performance;
  readonly history: readonly HistoryPoint[];
}

/** Puts what is known at `now` into the shape of the guide. */
export function dashboardData(
  { version, ca, health, issued, alerts, trust, crl, edges, performance, history }: Sources,
  now: number,
): DashboardData {
  const active = alerts.active.map(alertRecord);
  const entries = health.services.filter(isGood).map(({ entry }) => entry);
  const count = (level: AlertLevel) => active.filter((alert) => alert.level === level).length;
  return {
    generated_at: iso(now),
    version,
    ca: {
      name: ca.caName,
      root_sha256: ca.rootSha256,
      not_after: iso(ca.rootNotAfter),
      days_left: daysLeft(ca.rootNotAfter, now),
    },
    metrics: certificateCounts(health, now),
    health: { checked_at: iso(health.checkedAt), summary: healthSummary(health) },
    expiry: expiry(entries, now),
    rotations: issued.map(({ issuedAt, service, namespace, serial, by }) => ({
      ...{ at: iso(issuedAt), service, namespace, serial, kind: by },
    })),
    alerts: {
      by_level: { info: count('info'), warning: count('warning'), error: count('error'), critical: count('critical') },
      active,
      recent: alerts.recent.slice(0, RECENT_ALERTS).map(alertRecord),
    },
    trust: trustRecord(trust, crl),
    edges: edges.slice(0, EDGES),
    edges_left: Math.max(0, edges.length - EDGES),
    performance,
    history,
  };
}

export function healthSummary({ services: all }: Health): DashboardData['health']['summary'] {
  const services = all.filter(isGood);
  const healthy = services.filter(({ status }) => status === 'healthy' || status === 'info').length;
  const total = services.length;
  return {
    total_services: total,
    healthy_services: healthy,
    unhealthy_services: total - healthy,
    health_percentage: total === 0 ? 100 : Math.floor((healthy / total) * 1000) / 10,
  };
}

function trustRecord({ lacking, roots, ...status }: TrustStatus, crl: Sources['crl']): TrustRecord {
  const { phase, since, deadline, sidecars, next } = status;
  return {
    ...{ phase, since: since === 0 ? null : iso(since), deadline: deadline === undefined ? null : iso(deadline) },
    roots: roots.map(({ notAfter, ...root }) => ({ ...root, not_after: iso(notAfter) })),
    sidecars,
    lacking: lacking
      .slice(0, LACKING)
      .map(({ service, namespace, why, until }) => ({ service, namespace, why, until: iso(until) })),
    left: Math.max(0, lacking.length - LACKING),
    next,
    crl: { number: crl.number, revoked: crl.entries.size, next_update: iso(crl.nextUpdate) },
  };
}

/** `served` is what its sidecar said last; `bundle` the hash of the one in force. */
export function certificateLine(
  { entry, held, renewAt, status }: ServiceHealth,
  { now, served, bundle }: { readonly now: number; readonly served: Served | undefined; readonly bundle: string },
): CertificateLine {
  const { service, namespace, type, serial, spiffeId, keyType, notBefore, notAfter } = entry;
  const share = Math.max(0, (notAfter - now) / (notAfter - notBefore));
  return {
    ...{ service, namespace, type, serial, spiffe_id: spiffeId, key_type: keyType },
    ...{ not_before: iso(notBefore), not_after: iso(notAfter), renew_at: iso(renewAt) },
    ...{ days_left: daysLeft(notAfter, now), share_left: Math.round(share * 1000) / 1000 },
    ...{ held_by: held ? 'manager' : 'sidecar', status },
    serves:
      served === undefined
        ? null
        : {
            serial: served.serial,
            bundle: served.bundle === bundle ? 'current' : 'other',
            heard_at: iso(served.at),
          },
  };
}

function certificateCounts({ services: all }: Health, now: number): CertificateCounts {
  const services = all.filter(isGood);
  const valid = services.filter(({ entry }) => entry.notAfter > now);
  const soonest = (times: readonly number[]) =>
    times.length === 0 ? null : iso(times.reduce((a, b) => Math.min(a, b)));
  return {
    total_certificates: services.length,
    valid_certificates: valid.length,
    expiring_certificates: valid.filter(({ entry }) => entry.notAfter - now < (entry.notAfter - entry.notBefore) / 4)
      .length,
    expired_certificates: services.length - valid.length,
    revoked_certificates: all.length - services.length,
    held_by_manager: services.filter(({ held }) => held).length,
    next_expiry: soonest(valid.map(({ entry }) => entry.notAfter)),
    next_renewal: soonest(valid.map(({ renewAt }) => renewAt)),
  };
}

/** What was revoked is waited for by nobody. */
function isGood({ status }: ServiceHealth): boolean {
  return status !== 'revoked';
}

function expiry(entries: readonly InventoryEntry[], now: number): DashboardData['expiry'] {
  const counts = new Map<number | null, number>([...BUCKETS, null].map((bucket) => [bucket, 0]));
  for (const { notAfter } of entries) {
    const bucket = BUCKETS.find((days) => notAfter - now <= days * DAY) ?? null;
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  }
  return [...counts].map(([days, certificates]) => ({ within_days: days, certificates }));
}

function alertRecord({ serviceName, startsAt, endsAt, ...alert }: Alert): AlertRecord {
  return {
    ...alert,
    service_name: serviceName,
    starts_at: iso(startsAt),
    ends_at: endsAt === undefined ? null : iso(endsAt),
  };
}

function daysLeft(notAfter: number, now: number): number {
  return Math.floor((notAfter - now) / DAY);
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
