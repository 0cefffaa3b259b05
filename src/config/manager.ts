import * as z from 'zod';
import {
  alertLevel,
  duration,
  head,
  KEY_TYPES,
  label,
  listenAddress,
  logSettings,
  managerAddress,
  path,
  remoteAddress,
  SERVICE_TYPES,
  trustDomain,
  webAddress,
} from './fields.ts';

/** Octal 0600 in each way YAML can carry it: 384 is what `0o600` reads as, 600 what `0600` reads as in YAML 1.2. */
const OWNER_ONLY = ['0600', '0o600', 384, 600] as const;

export const managerSchema = z
  .strictObject({
    ...head('Manager'),
    trustDomain: trustDomain(),
    listen: listenAddress('0.0.0.0').prefault('0.0.0.0:9443').describe('address of the API (TLS)'),
    address: managerAddress().optional().describe('https address that sidecars reach, put into join tokens'),
    health: listenAddress('127.0.0.1').prefault('127.0.0.1:9444').describe('plain /healthz /readyz /metrics'),
    storage: z
      .strictObject({
        path: path().prefault('./pki').describe('directory of certificates and CA state'),
        permissions: z
          .literal(OWNER_ONLY, { error: 'key files are always 0600; nothing else is possible' })
          .prefault('0600')
          .describe('mode of private keys'),
      })
      .prefault({}),
    ca: z
      .strictObject({
        name: z.string().min(1).max(64).prefault('AI-Teddy-CA').describe('common name of the root'),
        keySize: z
          .literal([2048, 3072, 4096], { error: 'expected 2048, 3072 or 4096' })
          .prefault(4096)
          .describe('bits of the RSA key of the root, when it is made'),
        validityYears: z.int().min(1).max(30).prefault(10).describe('life of the root, when it is made'),
        passphraseFile: path().optional().describe('file with the passphrase that encrypts the CA key at rest'),
        issuer: z.boolean().prefault(false).describe('sign leaves with an issuing CA under the root'),
      })
      .prefault({}),
    certificates: z
      .strictObject({
        keyType: z.enum(KEY_TYPES).prefault('rsa-2048').describe('key type of the leaves that `generate` makes'),
        validity: duration({ min: '30s', max: '398d' }).prefault('90d').describe('life of a leaf'),
        rotationThreshold: duration().prefault('30d').describe('a leaf is renewed this long before its end'),
        allowedSans: z
          .array(z.string().min(1))
          .prefault([])
          .describe('further names a certificate may have: exact, or .suffix; any unless given'),
      })
      .prefault({}),
    services: z
      .array(
        z.strictObject({
          name: label().describe('name of the service'),
          type: z
            .enum(SERVICE_TYPES, { error: `expected ${SERVICE_TYPES.join(', ')}` })
            .prefault('api_service')
            .describe('profile of its certificate'),
          sans: z.array(z.string().min(1)).prefault([]).describe('further DNS names or addresses'),
          namespace: label().prefault('default').describe('its namespace'),
        }),
      )
      .prefault([])
      .describe('services that `sidelock bootstrap` makes certificates for'),
    tokens: z
      .strictObject({
        ttl: duration({ min: '1s' }).prefault('10m').describe('life of a join token'),
        maxTtl: duration({ min: '1s' }).prefault('1h').describe('longest life that may be asked for'),
      })
      .refine(({ ttl, maxTtl }) => ttl <= maxTtl, { path: ['ttl'], error: 'is longer than tokens.maxTtl' })
      .prefault({}),
    devices: z
      .strictObject({
        est: z
          .enum(['on', 'off'], { error: 'expected on or off' })
          .prefault('off')
          .describe('devices enrol and renew by EST (RFC 7030) on the port of the API'),
      })
      .prefault({}),
    kubernetes: z
      .strictObject({
        pods: z
          .enum(['on', 'off'], { error: 'expected on or off' })
          .prefault('off')
          .describe('pods enrol with their ServiceAccount token, which the cluster is asked about'),
        podCertificates: z
          .enum(['on', 'off'], { error: 'expected on or off' })
          .prefault('off')
          .describe('answers PodCertificateRequests (Kubernetes 1.37) and keeps a ClusterTrustBundle; needs pods: on'),
        validity: duration({ min: '10m', max: '7d' }).prefault('24h').describe('life of the certificate of a pod'),
        namespace: label()
          .optional()
          .describe('the trust bundle is kept there as ConfigMap sidelock-trust; nowhere unless given'),
        state: z
          .enum(['directory', 'secrets'], { error: 'expected directory or secrets' })
          .prefault('directory')
          .describe(
            'where the state is: in storage.path, or in Secrets of kubernetes.namespace, so that of several managers one leads and another takes over',
          ),
        lease: duration({ min: '3s', max: '1m' })
          .refine((ms) => ms % 1000 === 0, { error: 'is not a whole number of seconds' })
          .prefault('10s')
          .describe(
            'a manager that leads and is gone is replaced after this time; it renews its Lease five times in it',
          ),
        podAddress: z
          .union([z.ipv4(), z.ipv6()], { error: 'expected an IP address' })
          .optional()
          .describe(
            'where this pod is reached: with state: secrets Service sidelock-manager leads to the one that leads',
          ),
      })
      .refine(({ state, namespace }) => state === 'directory' || namespace !== undefined, {
        path: ['namespace'],
        error: 'is needed with state: secrets',
      })
      .prefault({}),
    monitoring: z
      .strictObject({
        healthCheckInterval: duration({ min: '1s' })
          .prefault('10m')
          .describe('every certificate is checked, and alerts are told, this often'),
        metricsCollectionInterval: duration({ min: '1s' })
          .prefault('5m')
          .describe('a point of the history of the dashboard is taken this often'),
        log: alertLevel().describe('alerts in the log: the least level, or off'),
        webhook: z
          .strictObject({ url: webAddress().describe('gets alerts as JSON by POST'), level: alertLevel() })
          .optional(),
        alertmanager: z
          .strictObject({ url: webAddress().describe('base of an Alertmanager, API v2'), level: alertLevel() })
          .optional(),
        mail: z
          .strictObject({
            server: remoteAddress().describe('HOST:PORT of the mail server'),
            security: z
              .enum(['starttls', 'tls', 'off'], { error: 'expected starttls, tls or off' })
              .prefault('starttls')
              .describe('starttls is demanded, tls from the first byte, off sends in the clear'),
            from: z.email({ error: 'expected a mail address' }).describe('sender'),
            to: z
              .array(z.email({ error: 'expected a mail address' }))
              .min(1)
              .describe('who gets the mail'),
            user: z.string().min(1).optional().describe('to log in with; no login unless given'),
            passwordFile: path().optional().describe('file with the password of user'),
            level: alertLevel('error'),
          })
          .optional(),
      })
      .prefault({}),
    log: logSettings(),
  })
  .describe('The certificate manager');

export type ManagerConfig = z.output<typeof managerSchema>;
