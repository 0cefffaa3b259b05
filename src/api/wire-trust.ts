import { z } from 'zod';

/** What the succession of roots adds to the calls of the operator. */

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Milliseconds since the epoch. */
const time = z.number().int().nonnegative();

const name = z.string().min(1).max(63);

const lacking = z.strictObject({
  service: name,
  namespace: name,
  serial: z.string(),
  holder: z.enum(['sidecar', 'files', 'unknown', 'token']),
  why: z.string(),
  seenAt: time.optional(),
  until: time,
});

/** GET and POST /v1/trust/state. `left` counts those that an answer has no room for. */
export const trustStatus = z.strictObject({
  generation: z.number().int(),
  phase: z.enum(['steady', 'staged', 'active', 'compromised']),
  since: time,
  deadline: time.optional(),
  bundleSha256: sha256,
  roots: z.array(
    z.strictObject({
      number: z.number().int(),
      subject: z.string(),
      sha256,
      notAfter: time,
      state: z.enum(['signs', 'next', 'old', 'gone']),
      key: z.enum(['here', 'offline', 'destroyed']),
      certificates: z.number().int(),
    }),
  ),
  sidecars: z.strictObject({ total: z.number().int(), confirmed: z.number().int() }),
  lacking: z.array(lacking).max(1000),
  left: z.number().int(),
  next: z.string(),
});
export type TrustStatusAnswer = z.infer<typeof trustStatus>;

export const trustStepRequest = z.strictObject({
  step: z.enum(['stage', 'unstage', 'activate', 'retire', 'compromise']),
  /** Only says what stands against it. */
  dryRun: z.boolean().optional(),
  absentMs: z.number().int().nonnegative().optional(),
  closeConnections: z.boolean().optional(),
  withinMs: z.number().int().nonnegative().optional(),
});
export type TrustStepRequest = z.infer<typeof trustStepRequest>;
