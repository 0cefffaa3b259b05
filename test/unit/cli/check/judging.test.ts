import t from 'tap';
import type { CertificateRecord } from '../../../../src/api/wire.ts';
import { DAY, HOUR, MINUTE } from '../../../../src/base/clock.ts';
import { type AuthorityFacts, checkAuthority } from '../../../../src/cli/check/authority.ts';
import { type CertificateFacts, checkCertificates } from '../../../../src/cli/check/certificates.ts';
import type { Finding } from '../../../../src/cli/check/finding.ts';
import { checkMachine, type MachineFacts } from '../../../../src/cli/check/machine.ts';
import { checkSidecar, type SidecarFacts } from '../../../../src/cli/check/sidecar.ts';
import { checkPlace, checkStorage, type StorageFacts } from '../../../../src/cli/check/storage.ts';

const now = Date.parse('2026-06-01T00:00:00Z');
const BUNDLE = 'b'.repeat(64);

/** What is not in order, as `status id`. */
function bad(findings: readonly Finding[]): string[] {
  return findings.filter(({ status }) => status !== 'ok').map(({ id, status }) => `${status} ${id}`);
}

t.test('the machine', async (t) => {
  const good: MachineFacts = {
    node: '26.13.1',
    disk: { path: '/pki', bytes: 1 << 30, files: 10_000 },
    openFiles: 65_536,
    inotify: { watches: 65_536, instances: 128 },
    youngest: { path: '/pki/audit.log', at: now - DAY },
    now,
  };
  const rows: ReadonlyArray<readonly [Partial<MachineFacts>, string[]]> = [
    [{}, []],
    [{ node: '26.10.0' }, ['warning machine.node']],
    [{ disk: { path: '/', bytes: 100 << 20, files: 10_000 } }, ['warning machine.disk']],
    [{ disk: { path: '/', bytes: 1 << 20, files: 10_000 } }, ['error machine.disk']],
    [{ disk: { path: '/', bytes: 1 << 30, files: 3 } }, ['warning machine.disk']],
    [{ disk: { path: '/', bytes: 1 << 30, files: 0 } }, []],
    [{ openFiles: 1024 }, ['warning machine.files']],
    [{ openFiles: undefined, inotify: { watches: undefined, instances: undefined }, youngest: undefined }, []],
    [{ inotify: { watches: 10, instances: 128 } }, ['warning machine.inotify']],
    [{ youngest: { path: '/pki/audit.log', at: now + HOUR } }, ['error machine.clock']],
  ];
  for (const [change, expected] of rows) t.strictSame(bad(checkMachine({ ...good, ...change })), expected);
});

t.test('the storage', async (t) => {
  const file = (path: string, mode: number, uid = 1000) => ({ path, mode, uid });
  const good: StorageFacts = {
    path: '/pki',
    directory: file('/pki/.sidelock', 0o700),
    parent: { ...file('/', 0o755, 0), writable: true },
    keys: [file('/pki/.sidelock/ca/root.key', 0o600), file('/pki/web/key.pem', 0o600)],
    socket: file('/pki/.sidelock/manager.sock', 0o600),
    uid: 1000,
  };
  const rows: ReadonlyArray<readonly [Partial<StorageFacts>, string[]]> = [
    [{}, []],
    [{ directory: undefined }, ['error storage.directory']],
    [{ directory: file('/pki/.sidelock', 0o755) }, ['error storage.modes']],
    [{ keys: [file('/k.key', 0o640), file('/l.key', 0o600, 7)] }, ['error storage.modes', 'error storage.modes']],
    [{ socket: file('/s', 0o666) }, ['error storage.socket']],
  ];
  for (const [change, expected] of rows) t.strictSame(bad(checkStorage({ ...good, ...change })), expected);
  const place = (change: Partial<StorageFacts>) => bad(checkPlace({ ...good, directory: undefined, ...change }));
  t.strictSame(place({}), []);
  t.strictSame(place({ parent: { ...file('/', 0o755, 0), writable: false } }), ['error storage.directory']);
  t.strictSame(place({ parent: { ...file('/x', 0o777), writable: true } }), ['error storage.directory']);
  t.strictSame(place({ parent: { ...file('/tmp', 0o1777), writable: true } }), []);
});

t.test('the authority', async (t) => {
  const lacking = [
    { service: 'web', namespace: 'default', serial: '1', holder: 'sidecar', why: 'it is behind', until: now + DAY },
  ] as const;
  const facts = (change: {
    root?: number;
    crl?: number;
    phase?: 'staged' | 'active' | 'compromised';
    since?: number;
    deadline?: number;
    passphrase?: boolean;
  }): AuthorityFacts => ({
    status: {
      ...{ version: '1', caName: 'CA', trustDomain: 'x', rootSha256: BUNDLE, certificates: 1, openTokens: 0 },
      ...{ address: 'https://x', health: 'x', storagePath: '/pki', startedAt: now, time: now },
      rootNotAfter: now + (change.root ?? 3000) * DAY,
      crl: {
        number: 3,
        revoked: 0,
        thisUpdate: now - (change.crl ?? 0) * DAY,
        nextUpdate: now + (7 - (change.crl ?? 0)) * DAY,
      },
    },
    trust: {
      ...{
        generation: 1,
        bundleSha256: BUNDLE,
        roots: [],
        sidecars: { total: 1, confirmed: 0 },
        left: 0,
        next: 'next',
      },
      ...{ phase: change.phase ?? 'steady', since: now - (change.since ?? 0) },
      lacking: change.phase === undefined ? [] : [...lacking],
      ...(change.deadline === undefined ? {} : { deadline: now + change.deadline }),
    },
    passphrase: change.passphrase ?? true,
    now,
  });
  const rows: ReadonlyArray<readonly [Parameters<typeof facts>[0], string[]]> = [
    [{}, []],
    [{ root: 100 }, ['warning ca.life']],
    [{ root: 20 }, ['error ca.life']],
    [{ root: -1 }, ['error ca.life']],
    [{ passphrase: false }, ['info ca.passphrase']],
    [{ crl: 3 }, ['warning ca.crl']],
    [{ crl: 8 }, ['error ca.crl']],
    [{ phase: 'staged', since: HOUR }, []],
    [{ phase: 'staged', since: 2 * DAY }, ['warning trust.rollover']],
    [{ phase: 'active', since: 2 * DAY }, []],
    [{ phase: 'active', since: 8 * DAY }, ['warning trust.rollover']],
    [{ phase: 'compromised', since: 6 * MINUTE, deadline: -2 * MINUTE }, ['error trust.rollover']],
  ];
  for (const [change, expected] of rows) t.strictSame(bad(checkAuthority(facts(change))), expected);
  const [stuck] = checkAuthority(facts({ phase: 'staged', since: 2 * DAY })).filter(({ status }) => status !== 'ok');
  t.match(stuck, { why: 'web: it is behind' }, 'and who is behind');
});

t.test('certificates and their sidecars', async (t) => {
  const good: CertificateRecord = {
    ...{ service: 'web', namespace: 'default', type: 'api_service', serial: 'a', spiffeId: 'spiffe://x', sans: [] },
    ...{ notBefore: now - DAY, notAfter: now + 89 * DAY, keyType: 'ecdsa-p256', fingerprint256: BUNDLE },
    ...{ issuedAt: now - DAY, by: 'token', reported: { bundle: BUNDLE, at: now - MINUTE } },
  };
  const { reported: _, ...unheard } = good;
  const judge = (certificate: CertificateRecord, more: Partial<CertificateFacts> = {}) =>
    bad(
      checkCertificates({
        ...{ certificates: [certificate], validation: { checked: 1, findings: [], left: 0 }, bundle: BUNDLE },
        ...{ upMs: DAY, expiryThresholdMs: undefined, now },
        ...more,
      }),
    );
  t.strictSame(judge(good), []);
  const behind = { ...unheard, servedSerial: 'old' };
  t.strictSame(judge(behind), ['warning sidecars.serving'], 'issued, and never shown');
  t.strictSame(judge(unheard), [], 'it may be no sidecar');
  t.strictSame(judge({ ...behind, issuedAt: now - MINUTE }), [], 'a moment ago');
  t.strictSame(judge({ ...behind, by: 'generate' }), [], 'who reads files is not heard');
  t.strictSame(judge({ ...good, reported: { bundle: 'old', at: now } }), ['warning sidecars.bundle']);
  const silent = { ...good, reported: { bundle: BUNDLE, at: now - 4 * HOUR } };
  t.strictSame(judge(silent), ['warning sidecars.heard']);
  t.strictSame(judge(silent, { upMs: HOUR }), [], 'the manager was not there to hear it');
  t.strictSame(judge({ ...good, notAfter: now + DAY / 5 }), ['warning certificates.expiry']);
  t.strictSame(judge({ ...good, notAfter: now + DAY / 20 }), ['error certificates.expiry']);
  t.strictSame(judge({ ...good, notAfter: now - 8 * DAY }), [], 'taken away long ago');
  t.strictSame(judge({ ...good, notAfter: now + DAY / 20, revokedAt: now }), [], 'revoked');
  t.strictSame(judge(good, { expiryThresholdMs: 100 * DAY }), ['warning certificates.expiry']);
  const finding = (id: string) => ({ id, severity: 'error', service: 'web', message: 'm', fix: 'f' }) as const;
  const findings = [finding('key.match'), finding('file.mode'), finding('cert.expired')];
  t.strictSame(judge(good, { validation: { checked: 1, findings, left: 0 } }), ['error certificates.fit']);
  const many = Array.from({ length: 30 }, () => finding('key.match'));
  t.equal(judge(good, { validation: { checked: 1, findings: many, left: 0 } }).length, 21, 'the rest is counted');
});

t.test('a sidecar', async (t) => {
  const good: SidecarFacts = {
    address: '127.0.0.1:9901',
    blockers: [],
    identity: {
      ...{ spiffeId: 'spiffe://x', serial: 'a', trustGeneration: BUNDLE },
      notBefore: new Date(now - DAY).toISOString(),
      notAfter: new Date(now + 89 * DAY).toISOString(),
    },
    plaintext: { now: '', strict: ['in'], permissive: [] },
    metrics: new Map([
      ['sidelock_manager_up', 1],
      ['sidelock_clock_skew_seconds', 0.2],
      ['sidelock_last_reload_successful', 1],
    ]),
    issued: undefined,
    now,
  };
  const metric = (name: string, value: number) => ({ metrics: new Map([[name, value]]) });
  const issued = (serial: string, bundle: string, revokedAt?: number) => ({
    issued: {
      bundle,
      certificate: {
        ...{ service: 'web', namespace: 'default', type: 'api_service', serial, spiffeId: 'spiffe://x', sans: [] },
        ...{ notBefore: 0, notAfter: 0, keyType: 'ecdsa-p256', fingerprint256: BUNDLE, issuedAt: 0, by: 'token' },
        ...(revokedAt === undefined ? {} : { revokedAt }),
      } satisfies CertificateRecord,
    },
  });
  const permissive = { listener: 'in', since: '', callers: [], other: { connections: 0 }, open: 0 };
  const rows: ReadonlyArray<readonly [Partial<SidecarFacts>, string[]]> = [
    [{}, []],
    [{ silent: 'ECONNREFUSED' }, ['error sidecar.answers']],
    [{ blockers: [{ name: 'identity', why: 'none' }], identity: undefined }, ['error sidecar.ready']],
    [{ now: now + 80 * DAY }, ['warning sidecar.identity']],
    [{ now: now + 88 * DAY }, ['error sidecar.identity']],
    [metric('sidelock_manager_up', 0), ['error sidecar.manager']],
    [metric('sidelock_clock_skew_seconds', -10), ['warning sidecar.clock']],
    [metric('sidelock_clock_skew_seconds', 100), ['error sidecar.clock']],
    [metric('x509_crl_next_update', (now + DAY) / 1000), []],
    [metric('x509_crl_next_update', (now - DAY) / 1000), ['error sidecar.crl']],
    [metric('sidelock_config_last_reload_successful', 0), ['error sidecar.reload']],
    [{ plaintext: { now: '', strict: [], permissive: [permissive] } }, ['warning sidecar.plaintext']],
    [issued('a', BUNDLE), []],
    [issued('other', BUNDLE), ['warning sidecar.served']],
    [issued('a', 'other'), ['warning sidecar.served']],
    [issued('a', BUNDLE, now), ['error sidecar.served']],
  ];
  for (const [change, expected] of rows) t.strictSame(bad(checkSidecar({ ...good, ...change })), expected);
});
