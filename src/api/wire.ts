import * as z from 'zod';
import { MAX_CRL, REVOCATION_REASONS, type RevocationReason } from '../pki/crl.ts';

/** Where each call lives. The admin calls exist only on the unix socket of the manager. */
export const PATHS = {
  trust: '/v1/trust',
  enroll: '/v1/enroll',
  enrollPod: '/v1/enroll-pod',
  renew: '/v1/renew',
  crl: '/v1/crl',
  news: '/v1/news',
  notices: '/v1/notices',
  edges: '/v1/edges',
  trustState: '/v1/trust/state',
  tokens: '/v1/tokens',
  certificates: '/v1/certificates',
  revocations: '/v1/revocations',
  status: '/v1/status',
  dashboard: '/v1/dashboard',
  inventory: '/v1/inventory',
  events: '/v1/events',
  validation: '/v1/validation',
  backups: '/v1/backups',
  devices: '/v1/devices',
  deviceTokens: '/v1/device-tokens',
  caImport: '/v1/ca/import',
  caRoot: '/v1/ca/root',
} as const;

const PEM_LIMIT = 512 * 1024;
const pem = z.string().min(1).max(PEM_LIMIT);
const name = z.string().min(1).max(63);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Milliseconds since the epoch. */
const time = z.number().int().nonnegative();

/** GET /v1/trust. `sha256` is the hash of the bundle, `rootSha256` of each root's DER. */
export const trustAnswer = z.strictObject({
  bundle: pem,
  sha256,
  rootSha256: z.array(sha256).min(1).max(16),
  trustDomain: z.string().min(1).max(255),
  time,
});
export type TrustAnswer = z.infer<typeof trustAnswer>;

/** POST /v1/enroll. With `service` the manager refuses a token made for another one before it is used up. */
export const enrollRequest = z.strictObject({
  token: z.string().min(1).max(2048),
  csr: z
    .string()
    .min(1)
    .max(12 * 1024),
  service: name.optional(),
  namespace: name.optional(),
});

/** POST /v1/enroll-pod: a ServiceAccount token proves who asks; the names are whom the caller means to be. */
export const podEnrollRequest = z.strictObject({
  token: z.string().min(1).max(8192),
  csr: z
    .string()
    .min(1)
    .max(12 * 1024),
  service: name,
  namespace: name,
});

/** POST /v1/renew, over mTLS with the current leaf. */
export const renewRequest = z.strictObject({
  csr: z
    .string()
    .min(1)
    .max(12 * 1024),
});

/** Answer to enroll and renew. `certificate` is the leaf, then its intermediates. */
export const identityAnswer = z.strictObject({
  certificate: pem,
  bundle: pem,
  spiffeId: z.string().min(1).max(2048),
  notBefore: time,
  notAfter: time,
  renewAt: time.optional(),
  trustDomain: z.string().min(1).max(255),
  time,
});
export type IdentityAnswer = z.infer<typeof identityAnswer>;

/** GET /v1/crl?after=NUMBER: held while NUMBER is the one in force, for half a minute at most. */
export const crlAnswer = z.strictObject({
  crl: z.string().min(1).max(MAX_CRL),
  number: z.number().int().nonnegative(),
  time,
});
export type CrlAnswer = z.infer<typeof crlAnswer>;

export const revocationRequest = z
  .strictObject({
    service: z.string().min(1).max(127).optional(),
    serial: z
      .string()
      .regex(/^[0-9a-fA-F:]{1,64}$/)
      .optional(),
    reason: z.enum(Object.keys(REVOCATION_REASONS) as [RevocationReason, ...RevocationReason[]]),
    /** Only says what would be revoked. */
    dryRun: z.boolean().optional(),
  })
  .refine(({ service, serial }) => (service === undefined) !== (serial === undefined), 'either service or serial');
export type RevocationRequest = z.infer<typeof revocationRequest>;

/** `certificates` are those that were revoked now, or would be. */
export const revocationAnswer = z.strictObject({
  certificates: z.array(
    z.strictObject({ service: name, namespace: name, serial: z.string(), spiffeId: z.string(), notAfter: time }),
  ),
  crlNumber: z.number().int(),
});
export type RevocationAnswer = z.infer<typeof revocationAnswer>;

export const tokenRequest = z.strictObject({
  service: name,
  namespace: name.optional(),
  type: z.string().min(1).max(32).optional(),
  /** Names the service may have besides its own. */
  sans: z.array(z.string().min(1).max(255)).max(64).optional(),
  ttlSeconds: z.number().int().min(1).max(3600).optional(),
});
export type TokenRequest = z.infer<typeof tokenRequest>;

export const tokenAnswer = z.strictObject({ token: z.string(), id: z.string(), expiresAt: time });
export type TokenAnswer = z.infer<typeof tokenAnswer>;

const tokenRecord = z.strictObject({
  /** First 16 hex digits of the hash of the token's id: enough to name it, useless to use it. */
  id: z.string(),
  service: name,
  namespace: name,
  type: z.string(),
  issuedAt: time,
  expiresAt: time,
  state: z.enum(['open', 'used', 'expired']),
  usedAt: time.optional(),
  usedBy: z.string().optional(),
});
export const tokenList = z.strictObject({ tokens: z.array(tokenRecord) });
export type TokenList = z.infer<typeof tokenList>;

export const certificateRequest = z.strictObject({
  service: name,
  type: z.string().min(1).max(32),
  sans: z.array(z.string().min(1).max(255)).max(64).optional(),
  namespace: name.optional(),
});
export type CertificateRequest = z.infer<typeof certificateRequest>;

const certificateRecord = z.strictObject({
  service: name,
  namespace: name,
  type: z.string(),
  serial: z.string(),
  spiffeId: z.string(),
  sans: z.array(z.string()),
  notBefore: time,
  notAfter: time,
  keyType: z.string(),
  fingerprint256: sha256,
  issuedAt: time,
  by: z.enum(['generate', 'token', 'renew', 'pod', 'kubelet']),
  supersededBy: z.string().optional(),
  revokedAt: time.optional(),
  revocationReason: z.string().optional(),
  /** What the sidecar that serves it said last: the hash of its bundle, and when. */
  reported: z.strictObject({ bundle: sha256, at: time }).optional(),
  /** Serial of what the sidecar of this identity showed last, whichever that is. */
  servedSerial: z.string().optional(),
  /** Directory of cert.pem, key.pem and ca.pem, for a certificate whose key the manager holds. */
  directory: z.string().optional(),
});
export type CertificateRecord = z.infer<typeof certificateRecord>;

/** One certificate with its PEM text; never a key. */
export const certificateAnswer = z.strictObject({ certificate: certificateRecord, pem, bundle: pem });
export type CertificateAnswer = z.infer<typeof certificateAnswer>;

/** The newest certificate of each service. */
export const certificateList = z.strictObject({ certificates: z.array(certificateRecord) });
export type CertificateList = z.infer<typeof certificateList>;

export const statusAnswer = z.strictObject({
  version: z.string(),
  caName: z.string(),
  trustDomain: z.string(),
  rootSha256: sha256,
  rootNotAfter: time,
  certificates: z.number().int(),
  openTokens: z.number().int(),
  crl: z.strictObject({ number: z.number().int(), revoked: z.number().int(), thisUpdate: time, nextUpdate: time }),
  address: z.string(),
  /** HOST:PORT of health and metrics. */
  health: z.string(),
  storagePath: z.string(),
  startedAt: time,
  time,
});
export type StatusAnswer = z.infer<typeof statusAnswer>;

const alertLevel = z.enum(['info', 'warning', 'error', 'critical']);

/** The data of the guide's dashboard: what commands read of it; the rest is passed on as it is. */
export const dashboardAnswer = z.looseObject({
  generated_at: z.string(),
  metrics: z.looseObject({
    total_certificates: z.number(),
    expiring_certificates: z.number(),
    expired_certificates: z.number(),
    next_renewal: z.string().nullable(),
  }),
  health: z.looseObject({ summary: z.looseObject({ health_percentage: z.number() }) }),
  alerts: z.looseObject({
    by_level: z.record(alertLevel, z.number()),
    active: z.array(z.looseObject({ id: z.string(), level: alertLevel, message: z.string(), fix: z.string() })),
  }),
});
export type DashboardAnswer = z.infer<typeof dashboardAnswer>;

/** Every answer that is not 2xx. `id` finds the line in the log of the manager. */
export const errorAnswer = z.strictObject({
  error: z.strictObject({
    code: z.string().regex(/^SL-[A-Z]+-\d{3}$/),
    message: z.string().max(2048),
    why: z.string().max(2048).optional(),
    fix: z.string().max(2048),
    id: z.string().max(64),
  }),
});
export type ErrorAnswer = z.infer<typeof errorAnswer>;

/** As much of a schema as its users need, so that only this file knows what checks it. */
export interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { issues: readonly Issue[] } };
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** One line that names each field at fault: `csr: Invalid input; (body): Unrecognized key: "x"`. */
export function describeIssues(issues: readonly Issue[]): string {
  const lines = issues.slice(0, 5).map(({ path, message }) => `${path.map(String).join('.') || '(body)'}: ${message}`);
  return lines.join('; ').slice(0, 500);
}
