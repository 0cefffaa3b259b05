import { z } from 'zod';
import { trustStatus } from './wire-trust.ts';

/** What taking over a CA, and taking its root's key away, add to the calls of the operator. */

const pem = z
  .string()
  .min(1)
  .max(128 * 1024);

/** POST /v1/ca/import. The key is not encrypted: the socket is the owner's. */
export const caImportRequest = z.strictObject({
  certificate: pem,
  key: pem,
  chain: pem.optional(),
  dryRun: z.boolean().optional(),
});
export type CaImportRequest = z.infer<typeof caImportRequest>;

export const caImportAnswer = z.strictObject({
  findings: z.array(
    z.strictObject({ code: z.string(), level: z.enum(['error', 'warning']), what: z.string(), fix: z.string() }),
  ),
  path: z.array(z.strictObject({ subject: z.string(), sha256: z.string(), notAfter: z.number().int() })),
  leaf: z
    .strictObject({
      subject: z.string(),
      sans: z.array(z.string()),
      notAfter: z.number().int(),
      keyType: z.string(),
    })
    .optional(),
  taken: z.boolean(),
  trust: trustStatus,
});
export type CaImportAnswer = z.infer<typeof caImportAnswer>;

/** POST /v1/ca/root: with `key` it comes back, without it goes. Whoever asks for the latter has that of `root` elsewhere. */
export const caRootRequest = z.strictObject({
  key: pem.optional(),
  /** SHA-256 of the root that is meant. */
  root: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  dryRun: z.boolean().optional(),
});
export type CaRootRequest = z.infer<typeof caRootRequest>;
