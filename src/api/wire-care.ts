import * as z from 'zod';

/** What the care for certificates adds to the admin calls: validation, and rotation before it is due. */

const finding = z.strictObject({
  id: z.string(),
  severity: z.enum(['error', 'warning']),
  service: z.string(),
  message: z.string(),
  fix: z.string(),
});

/** GET /v1/validation. `left` counts the findings that an answer has no room for. */
export const validationAnswer = z.strictObject({
  checked: z.number().int(),
  findings: z.array(finding).max(1000),
  left: z.number().int(),
});
export type ValidationAnswer = z.infer<typeof validationAnswer>;

/** POST /v1/backups: for the audit log. Who may read the files writes the backup; the manager only has to know. */
export const backupNote = z.strictObject({ file: z.string().min(1).max(4096) });
export const backupNoted = z.strictObject({ noted: z.literal(true) });

/** POST /v1/devices. The only answer that holds a private key: it is kept nowhere else. */
export const deviceRequest = z.strictObject({
  device: z.string().min(1).max(63),
  sans: z.array(z.string().min(1).max(255)).max(16).optional(),
});
export type DeviceRequest = z.infer<typeof deviceRequest>;
export const deviceAnswer = z.strictObject({
  certificate: z.string(),
  private_key: z.string(),
  ca_certificate: z.string(),
});
/** POST /v1/device-tokens: answered as a join token is. */
export const deviceTokenRequest = deviceRequest.extend({ ttlSeconds: z.number().int().positive().optional() });
export type DeviceTokenRequest = z.infer<typeof deviceTokenRequest>;

export type DeviceAnswer = z.infer<typeof deviceAnswer>;
