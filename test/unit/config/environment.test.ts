import t from 'tap';
import { variableName } from '../../../src/config/environment.ts';
import { KIND_NAMES, KINDS } from '../../../src/config/kinds.ts';
import { loadConfig } from '../../../src/config/load.ts';
import type { Path } from '../../../src/config/setting.ts';
import type { Shape } from '../../../src/config/shape.ts';
import { errorsIn, problemsIn } from '../../support/config.ts';

function* leafPaths(shape: Shape, path: Path): Generator<Path> {
  if (shape.is === 'object') for (const [key, child] of shape.keys) yield* leafPaths(child, [...path, key]);
  else if (shape.is === 'list' && shape.element.is === 'object') yield* leafPaths(shape.element, [...path, 0]);
  else yield path;
}

t.test('every key has one variable of its own', async (t) => {
  for (const kind of KIND_NAMES) {
    const variables = [...leafPaths(KINDS[kind].shape, [])].map(variableName);
    t.equal(new Set(variables).size, variables.length, kind);
    for (const name of variables) {
      // The value is wrong for most keys; what counts is that the variable reaches its key and no other.
      const problems = problemsIn(kind, `kind: ${kind}`, { [name]: '\u0001' });
      t.notMatch(problems.join('\n'), new RegExp(`env ${name}: no such key`), name);
    }
  }
});

t.test('the names of the guide', async (t) => {
  const { config } = loadConfig('Manager', {
    env: { MTLS_STORAGE_PATH: '/etc/ssl/ai-teddy', MTLS_CA_NAME: 'Other', MTLS_ROTATION_THRESHOLD_DAYS: '7' },
  });
  t.match(config, {
    storage: { path: '/etc/ssl/ai-teddy' },
    ca: { name: 'Other' },
    certificates: { rotationThreshold: 7 * 86_400_000 },
  });
});

t.test('a whole sidecar by indexed variables', async (t) => {
  const { config } = loadConfig('Sidecar', {
    env: {
      MTLS_SERVICE: 'orders',
      MTLS_IDENTITY_SOURCE: 'manager',
      MTLS_IDENTITY_TOKEN_FILE: '/run/token',
      MTLS_INBOUND_0_LISTEN: '8443',
      MTLS_INBOUND_0_TARGET: '8080',
      MTLS_INBOUND_0_ALLOW: 'web, ops/*',
      MTLS_INBOUND_1_LISTEN: '8444',
      MTLS_INBOUND_1_TARGET: '8081',
      MTLS_INBOUND_1_ALLOW: 'any',
      MTLS_OUTBOUND: '[{"listen": 9101, "service": "web", "address": "10.0.0.5:8443"}]',
      MTLS_LIMITS_MAX_CONNECTIONS: '50',
    },
  });
  t.match(config, {
    service: 'orders',
    identity: { source: 'manager', tokenFile: '/run/token' },
    inbound: [{ allow: ['web', 'ops/*'] }, { target: { port: 8081 }, allow: 'any' }],
    outbound: [{ service: 'web', address: { host: '10.0.0.5', port: 8443 } }],
    limits: { maxConnections: 50 },
  });
});

t.test('one item of a list of the file is changed in place', async (t) => {
  const text =
    'kind: Demo\nservices: [{ name: a, app: 1, mtls: 2, allow: any }, { name: b, app: 3, mtls: 4, allow: [a] }]';
  const { config, origin } = loadConfig('Demo', { file: { name: 'd', text }, env: { MTLS_SERVICES_1_APP: '0' } });
  t.match(config.services, [{ app: { port: 1 } }, { name: 'b', app: { port: 0 }, mtls: { port: 4 } }]);
  t.match(origin(['services', 1, 'app']), { from: 'env' });
  t.match(origin(['services', 1, 'name']), { from: 'file' });
});

t.test('a misspelt variable is an error, somebody else’s is not', async (t) => {
  t.match(errorsIn('Manager', '', { MTLS_STORAGE_PTH: '/x' }), [
    { code: 'SL-CFG-004', message: 'env MTLS_STORAGE_PTH: no such key', fix: /MTLS_STORAGE_PATH/ },
  ]);
  t.match(errorsIn('Sidecar', 'identity: {source: manager}', { MTLS_INBOUND_2_ALOW: 'x' }), [
    { fix: /MTLS_INBOUND_2_ALLOW/ },
  ]);
  const others = {
    MTLS_MANAGER_SERVICE_HOST: '10.0.0.1',
    MTLS_CA: '/etc/mtls/ca.pem',
    MTLS_CERT_PATH: '/x',
    PATH: '/bin',
  };
  t.strictSame(problemsIn('Manager', '', others), []);
});

t.test('a secret by variable is refused in favour of its file', async (t) => {
  t.match(errorsIn('Manager', '', { MTLS_CA_PASSPHRASE: 'hunter2' }), [
    { message: 'env MTLS_CA_PASSPHRASE: no such key', fix: /MTLS_CA_PASSPHRASE_FILE/ },
  ]);
});

t.test('two variables for one key, and values of the wrong form', async (t) => {
  const twice = { MTLS_ROTATION_THRESHOLD_DAYS: '7', MTLS_CERTIFICATES_ROTATION_THRESHOLD: '9d' };
  t.match(problemsIn('Manager', '', twice), [/the same setting as/]);
  t.match(problemsIn('Manager', '', { MTLS_CA_KEY_SIZE: 'big' }), [
    'SL-CFG-003 env MTLS_CA_KEY_SIZE ca.keySize: expected 2048, 3072 or 4096',
  ]);
  t.match(problemsIn('Manager', '', { MTLS_CERTIFICATES_ALLOWED_SANS: '[x' }), [
    'SL-CFG-003 env MTLS_CERTIFICATES_ALLOWED_SANS: not valid JSON',
  ]);
});
