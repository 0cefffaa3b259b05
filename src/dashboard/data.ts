import type { CertificateLine, DashboardData } from '../manager/dashboard-data.ts';

export type { AlertRecord, CertificateLine, DashboardData } from '../manager/dashboard-data.ts';

/** All the page knows. */
export interface State {
  readonly data: DashboardData | undefined;
  readonly lines: readonly CertificateLine[];
  readonly connection: 'connecting' | 'live' | 'lost';
}

/** Columns that the table of services can be sorted by. */
export const COLUMNS = ['service', 'namespace', 'type', 'days_left', 'status'] as const;
export type Column = (typeof COLUMNS)[number];

export interface Order {
  readonly by: Column;
  readonly down: boolean;
}

const GRAVITY = ['revoked', 'healthy', 'info', 'warning', 'error', 'critical'] as const;

/** Lines that hold each word of `text`, in any of what is shown of them. */
export function search(lines: readonly CertificateLine[], text: string): readonly CertificateLine[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return lines;
  return lines.filter(({ service, namespace, type, serial, spiffe_id, status }) => {
    const shown = `${service} ${namespace} ${type} ${serial} ${spiffe_id} ${status}`.toLowerCase();
    return words.every((word) => shown.includes(word));
  });
}

/** A sorted copy; lines that are equal by the column stand by name. */
export function sorted(lines: readonly CertificateLine[], { by, down }: Order): CertificateLine[] {
  const value = (line: CertificateLine) =>
    by === 'status' ? GRAVITY.indexOf(line.status) : by === 'days_left' ? Date.parse(line.not_after) : line[by];
  return lines.toSorted((a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = x < y ? -1 : x > y ? 1 : 0;
    return (down ? -order : order) || (a.service < b.service ? -1 : 1);
  });
}

/** How long until `time` (RFC 3339), as a person says it: `3 d`, `5 h`, `now`; `2 d ago` for the past. */
export function away(time: string, now: number): string {
  const ms = Date.parse(time) - now;
  const size = Math.abs(ms);
  if (size < 60_000) return 'now';
  const text =
    size >= 86_400_000
      ? `${Math.floor(size / 86_400_000)} d`
      : size >= 3_600_000
        ? `${Math.floor(size / 3_600_000)} h`
        : `${Math.floor(size / 60_000)} min`;
  return ms < 0 ? `${text} ago` : text;
}

/** A time as `2026-11-24 09:12`, in UTC. */
export function minute(time: string): string {
  return time.slice(0, 16).replace('T', ' ');
}
