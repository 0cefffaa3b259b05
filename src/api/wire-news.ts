import { z } from 'zod';
import { MAX_CRL } from '../pki/crl.ts';
import { REFUSAL_REASONS } from '../pki/peer-reasons.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const serial = z.string().regex(/^[0-9a-f]{1,64}$/);
/** Milliseconds since the epoch. */
const time = z.number().int().nonnegative();

const refusal = {
  serial,
  /** What the holder of the certificate was to the one who refused it: its client, or its server. */
  role: z.enum(['client', 'server']),
  reason: z.enum(REFUSAL_REASONS),
  /** By the clock of the one who refused. */
  at: time,
};

/** Certificates in one report; the rest waits for the next. */
export const MAX_NOTICES = 32;

/** POST /v1/notices, over mTLS: certificates that the caller has refused. There is no room for words of its own. */
export const noticeRequest = z.strictObject({
  refused: z
    .array(z.strictObject({ ...refusal, fingerprint256: sha256 }))
    .min(1)
    .max(MAX_NOTICES),
});
export type NoticeReport = z.infer<typeof noticeRequest>['refused'][number];

export const noticeAnswer = z.strictObject({ time });

const notice = z.strictObject({
  /** Later ones are higher. */
  seq: z.number().int().nonnegative(),
  /** SPIFFE id of the one who refused. */
  by: z.string().min(1).max(2048),
  ...refusal,
});
export type Notice = z.infer<typeof notice>;

/**
 * GET /v1/news?crl=NUMBER&notices=SEQ&bundle=SHA256&peers=ROOT:COUNT,…: held until there are other revocation lists than
 * those, a notice above that one for the certificate of the connection, or with `bundle` another trust bundle than that;
 * for half a minute at most. Each is there only when it is news. `peers` counts open connections by root.
 */
export const newsAnswer = z.strictObject({
  crl: z
    .strictObject({
      pem: z.string().min(1).max(MAX_CRL),
      number: z.number().int().nonnegative(),
      /** Certificates of those who made a list and are no roots. */
      issuers: z.string().max(64 * 1024),
    })
    .optional(),
  trust: z
    .strictObject({
      bundle: z
        .string()
        .min(1)
        .max(128 * 1024),
      sha256,
      /** The certificate of this connection should be replaced now, */
      renew: z.boolean(),
      /** together with those of others over this long, ms. */
      spreadMs: z.number().int().nonnegative(),
    })
    .optional(),
  notices: z.array(notice).max(64),
  time,
});
export type NewsAnswer = z.infer<typeof newsAnswer>;

/** What the one who asks has already. */
export interface NewsMarks {
  readonly crl: number;
  readonly notices: number;
  /** Hash of the bundle it serves with. */
  readonly bundle?: string;
  /** Open connections by the root that vouches for the peer (SHA-256). */
  readonly peers?: ReadonlyMap<string, number>;
}
