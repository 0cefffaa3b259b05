import type { Clock, Random } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { KeyType } from '../pki/keys.ts';
import type { ReviewPod } from './pods.ts';

export interface ManagerOptions {
  /** Directory of the store; the CA lives hidden in it. */
  readonly storagePath: string;
  readonly ca?: CaOptions;
  readonly certificates?: CertificateOptions;
  /** `ai-teddy.local` unless given. */
  readonly trustDomain?: string;
  readonly tokens?: TokenOptions;
  readonly audit?: AuditLogOptions;
  /** Pods cannot enrol unless given. */
  readonly pods?: PodOptions;
  /** https address that sidecars reach this manager at: it is put into join tokens. */
  readonly address: string | (() => string);
  /** Of this program, for metrics and status. */
  readonly version?: string;
  /** Told what takes time, in words for a person: a 4096-bit key takes a second or two. */
  readonly onProgress?: (text: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

interface CaOptions {
  /** `AI-Teddy-CA` unless given. */
  readonly name?: string;
  /** Bits; 4096 unless given. */
  readonly keySize?: 2048 | 3072 | 4096;
  /** 10 unless given. */
  readonly validityYears?: number;
  /** Encrypts the CA keys on disk. */
  readonly passphrase?: string | undefined;
  /** An issuing certificate under the root, limited to the trust domain. Off unless given. */
  readonly issuer?: boolean;
}

interface CertificateOptions {
  /** `rsa-2048` unless given. Of keys the manager makes; requests may hold any type the profile allows. */
  readonly keyType?: KeyType;
  /** Milliseconds; the profile decides unless given (90 days). */
  readonly validityMs?: number;
  /** Milliseconds before the end; 30 days unless given. */
  readonly rotationThresholdMs?: number;
  /** Names a service may have besides its own: exact, or a suffix that begins with a dot. */
  readonly allowedSans?: readonly string[];
  /** How long after its end a leaf may still be renewed, once. Milliseconds; 24 h unless given. */
  readonly expiredGraceMs?: number;
}

interface PodOptions {
  readonly review: ReviewPod;
  /** Of their certificates. Milliseconds; 24 h unless given. */
  readonly validityMs?: number;
}

interface AuditLogOptions {
  /** The newest entries of so many bytes are kept, and each is in the log too; all unless given. */
  readonly keptBytes?: number;
}

interface TokenOptions {
  /** Milliseconds; 10 minutes unless given. */
  readonly ttlMs?: number;
  /** Milliseconds; 1 hour unless given. */
  readonly maxTtlMs?: number;
}
