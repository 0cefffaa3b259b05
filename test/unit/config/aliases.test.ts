import t from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { problemsIn } from '../../support/config.ts';

t.test("the guide's MTLS_CONFIG is a config file as it stands", async (t) => {
  const text = `ca: { name: AI-Teddy-CA, key_size: 4096, validity_years: 10 }
certificates: { key_size: 2048, validity_days: 90, rotation_threshold_days: 30 }
storage: { path: /etc/ssl/ai-teddy, permissions: 0o600 }
monitoring: { health_check_interval: 600, metrics_collection_interval: 300 }
`;
  const { config } = loadConfig('Manager', { file: { name: 'guide.yaml', text }, env: {} });
  t.match(config, {
    ca: { name: 'AI-Teddy-CA', keySize: 4096, validityYears: 10 },
    certificates: { keyType: 'rsa-2048', validity: 90 * 86_400_000, rotationThreshold: 30 * 86_400_000 },
    storage: { path: '/etc/ssl/ai-teddy' },
    monitoring: { healthCheckInterval: 600_000, metricsCollectionInterval: 300_000 },
  });
});

t.test('permissions in every spelling of 0600, and in no other mode', async (t) => {
  for (const mode of ['0600', '"0600"', '0o600'])
    t.strictSame(problemsIn('Manager', `storage: { permissions: ${mode} }`), []);
  t.match(problemsIn('Manager', 'storage: { permissions: 0644 }'), [/storage.permissions: key files are always 0600/]);
});

t.test('both spellings given is an error, at its place', async (t) => {
  t.strictSame(problemsIn('Manager', 'certificates:\n  validity: 10d\n  validity_days: 10\n'), [
    'SL-CFG-003 c.yaml:2:3 certificates.validity: the same setting as certificates.validity_days, and both are given',
  ]);
  t.match(problemsIn('Manager', 'ca: { keySize: 4096, key_size: 2048 }'), [
    /ca.keySize: the same setting as ca.key_size/,
  ]);
});

t.test('a wrong value under an alias is reported where it stands', async (t) => {
  t.match(problemsIn('Manager', 'certificates:\n  validity_days: soon\n'), [
    /^SL-CFG-003 c.yaml:2:3 certificates.validity: /,
  ]);
  t.match(problemsIn('Manager', 'certificates:\n  key_size: 1024\n'), [
    /^SL-CFG-003 c.yaml:2:3 certificates.keyType: /,
  ]);
});
