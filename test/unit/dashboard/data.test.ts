import t from 'tap';
import { away, type CertificateLine, search, sorted } from '../../../src/dashboard/data.ts';

const line = (service: string, days: number, status: CertificateLine['status'] = 'healthy'): CertificateLine => ({
  ...{ service, namespace: 'shop', type: 'api_service', serial: `${service}01`, key_type: 'rsa-2048', status },
  ...{ spiffe_id: `spiffe://ai-teddy.local/ns/shop/sa/${service}`, held_by: 'sidecar', days_left: days, share_left: 1 },
  ...{ not_before: '2026-01-01T00:00:00Z', renew_at: '2026-02-01T00:00:00Z', serves: null },
  not_after: new Date(Date.UTC(2026, 0, 1 + days)).toISOString(),
});
const LINES = [line('web', 9), line('db', 3, 'critical'), line('orders', 9, 'warning')];
const names = (lines: readonly CertificateLine[]) => lines.map(({ service }) => service);

t.test('search finds lines with every word, in any column and case', async (t) => {
  t.strictSame(names(search(LINES, '')), ['web', 'db', 'orders']);
  t.strictSame(names(search(LINES, ' SHOP  critical ')), ['db']);
  t.strictSame(names(search(LINES, 'web01')), ['web']);
  t.strictSame(names(search(LINES, 'web critical')), []);
});

t.test('sorting is by time and gravity, then by name, and leaves the original', async (t) => {
  t.strictSame(names(sorted(LINES, { by: 'days_left', down: false })), ['db', 'orders', 'web']);
  t.strictSame(names(sorted(LINES, { by: 'status', down: true })), ['db', 'orders', 'web']);
  t.strictSame(names(sorted(LINES, { by: 'service', down: true })), ['web', 'orders', 'db']);
  t.strictSame(names(LINES), ['web', 'db', 'orders']);
});

t.test('times are told as people do', async (t) => {
  const now = Date.UTC(2026, 0, 10);
  const at = (ms: number) => away(new Date(now + ms).toISOString(), now);
  t.equal(at(30_000), 'now');
  t.equal(at(-90_000), '1 min ago');
  t.equal(at(5 * 3_600_000), '5 h');
  t.equal(at(-49 * 3_600_000), '2 d ago');
});
