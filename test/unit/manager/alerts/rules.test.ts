import t from 'tap';
import { type CertificateFacts, judgeAuthority, judgeCertificate } from '../../../../src/manager/alerts/rules.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);

/** A certificate of `life` ms, renewed when a third is left; what is found at `share` of its life. */
function at(share: number, life: number, more: Partial<CertificateFacts> = {}): string[] {
  const facts = { service: 'web', namespace: 'default', notBefore: START, notAfter: START + life, held: true };
  const found = judgeCertificate({ ...facts, renewAt: START + (life * 2) / 3, ...more }, START + life * share);
  return found.map(({ rule, level }) => `${rule} ${level}`);
}

t.test('expiry is judged by the share of life: the same for a certificate of minutes and one of months', async (t) => {
  for (const life of [5 * 60_000, 90 * DAY]) {
    t.strictSame(at(0.66, life), [], 'not due');
    t.strictSame(at(0.76, life), ['CertificateExpiringSoon warning']);
    t.strictSame(at(0.91, life), ['CertificateExpiryCritical critical']);
    t.strictSame(at(1.01, life), ['CertificateExpiryCritical critical'], 'ended');
  }
});

t.test('a renewal that is late is told before the end is near; one that is a minute late is not', async (t) => {
  const life = 90 * DAY;
  t.strictSame(at(2 / 3 + 60_000 / life, life), []);
  t.strictSame(at(0.7, life), ['RenewalOverdue warning']);
});

t.test('what a sidecar left behind becomes quiet; what the manager must renew never does', async (t) => {
  const life = 90 * DAY;
  const after = (days: number) => (life + days * DAY) / life;
  t.strictSame(at(after(6), life, { held: false }), ['CertificateExpiryCritical critical']);
  t.strictSame(at(after(8), life, { held: false }), ['CertificateLapsed info']);
  t.strictSame(at(after(31), life, { held: false }), []);
  t.strictSame(at(after(31), life), ['CertificateExpiryCritical critical']);
});

t.test('files that cannot be served and rotations that fail are errors beside it', async (t) => {
  t.strictSame(at(0.1, DAY, { unusable: 'x', rotationFailure: 'y' }), [
    'CertificateUnusable error',
    'RotationFailing error',
  ]);
});

t.test('M48 the root: half a year or a quarter of its life, whichever is less', async (t) => {
  const root = (years: number, left: number, blockers: string[] = []) =>
    judgeAuthority(
      { name: 'CA', notBefore: START - years * 365 * DAY, notAfter: START + left * DAY, blockers },
      START,
    ).map(({ rule, level }) => `${rule} ${level}`);
  t.strictSame(root(10, 181), []);
  t.strictSame(root(10, 179), ['CaExpiring warning']);
  t.strictSame(root(10, 29), ['CaExpiring critical']);
  t.strictSame(root(0.5, 100), [], 'a root of less than a year');
  t.strictSame(root(1, 3000, ['the clock is wrong']), ['CannotIssue critical']);
});

t.test('a change of roots that stands still, by its phase', async (t) => {
  const stuck = (phase: 'steady' | 'staged' | 'active' | 'compromised', ms: number) =>
    judgeAuthority(
      {
        ...{ name: 'CA', notBefore: START - DAY, notAfter: START + 3000 * DAY, blockers: [] },
        rollover: { phase, since: START - ms, behind: 2 },
      },
      START,
    ).map(({ rule, level }) => `${rule} ${level}`);
  t.strictSame(stuck('steady', 100 * DAY), []);
  t.strictSame(stuck('staged', DAY - 1), []);
  t.strictSame(stuck('staged', DAY + 1), ['TrustRolloverStuck warning']);
  t.strictSame(stuck('active', 6 * DAY), []);
  t.strictSame(stuck('active', 8 * DAY), ['TrustRolloverStuck warning']);
  t.strictSame(stuck('compromised', 10 * 60_000), []);
  t.strictSame(stuck('compromised', 16 * 60_000), ['TrustRolloverStuck critical']);
});

t.test('a certificate that its sidecar does not take up', async (t) => {
  t.strictSame(at(0.01, 90 * DAY, { held: false, unservedSince: START }), ['CertificateNotServed warning']);
  t.strictSame(at(0.00001, 90 * DAY, { held: false, unservedSince: START }), [], 'a minute is no time');
});
