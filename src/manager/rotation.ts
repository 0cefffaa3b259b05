import { type Clock, MINUTE, type Random } from '../base/clock.ts';
import { isAbort, isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { nextRenewal } from '../pki/renewal.ts';
import type { CertStore } from '../store/store.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';

interface RotationOptions {
  readonly store: CertStore;
  readonly inventory: Inventory;
  /** Milliseconds before the end. */
  readonly thresholdMs: number;
  /** A certificate that was revoked is not renewed. */
  readonly isRevoked: (serial: string) => boolean;
  /** Of trust. */
  readonly generation: () => number;
  /** A certificate that another root vouches for than the one that signs is rotated, due or not. */
  readonly isOld: (entry: InventoryEntry) => boolean;
  /** Puts the bundle in force beside the certificate of a service, where another one lies there. */
  readonly refresh: (service: string) => Promise<void>;
  /** Issues again what `entry` says, into the store. */
  readonly reissue: (entry: InventoryEntry) => Promise<InventoryEntry>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface RotationManager {
  /** Rotates `service` at the first check after `when` (a Date, or ms since the epoch), due or not. */
  scheduleRotation(service: string, when: Date | number): void;
  /** Rotates `service` now, due or not. @throws SidelockError SL-STORE-001 when its key is not held here, or what issuing throws. */
  rotateNow(service: string): Promise<InventoryEntry>;
  /** Rotates what is due and returns its names. A failure is logged and tried again at the next check. */
  checkAndRotateCertificates(): Promise<string[]>;
  /** Why the last attempt failed, by service; what was rotated since is not in it. */
  failures(): ReadonlyMap<string, string>;
}

const TICK_MS = MINUTE;
/** The files of 10,000 services are a second's work, even from a cache that looks at their change times only. */
const LOOK_AGAIN_MS = 10 * MINUTE;

/**
 * Rotates the certificates whose keys the manager holds. Sidecars that enrolled renew theirs by themselves. `ended`
 * resolves after the signal, when nothing is written any more.
 */
export function startRotation(options: RotationOptions): {
  readonly rotationManager: RotationManager;
  readonly ended: Promise<void>;
} {
  const { store, inventory, thresholdMs, isRevoked, generation, isOld, refresh, reissue, clock, random, log } = options;
  let seen = generation();
  const scheduled = new Map<string, number>();
  /** By serial, so that the jitter of a certificate is decided once. */
  const due = new Map<string, number>();
  const failures = new Map<string, string>();
  /** What lay in the store and was not due, until when that is taken on trust: what people put there is seen later. */
  const looked = new Map<string, { readonly entry: InventoryEntry; readonly until: number }>();

  const dueOf = ({ serial, notBefore, notAfter }: InventoryEntry): number => {
    const at = due.get(serial) ?? nextRenewal({ notBefore, notAfter }, thresholdMs, random);
    due.set(serial, at);
    return at;
  };

  const heldEntry = async (service: string): Promise<InventoryEntry | undefined> => {
    const held = await store.load(service);
    return held === undefined ? undefined : inventory.get(held.leaf.serial);
  };
  const whenOf = (service: string, entry: InventoryEntry) =>
    Math.min(dueOf(entry), scheduled.get(service) ?? Number.POSITIVE_INFINITY);
  const rotate = async (service: string): Promise<boolean> => {
    const now = clock.now();
    const known = looked.get(service);
    if (known !== undefined && now < Math.min(known.until, whenOf(service, known.entry))) return false;
    looked.delete(service);
    await refresh(service);
    const entry = await heldEntry(service);
    if (entry === undefined || isRevoked(entry.serial)) return false;
    if (!isOld(entry) && now < whenOf(service, entry)) {
      looked.set(service, { entry, until: now + (0.5 + random()) * LOOK_AGAIN_MS });
      return false;
    }
    await replace(entry);
    return true;
  };
  const replace = async (entry: InventoryEntry): Promise<InventoryEntry> => {
    const next = await reissue(entry);
    due.delete(entry.serial);
    scheduled.delete(entry.service);
    return next;
  };

  const rotation: RotationManager = {
    scheduleRotation(service, when) {
      scheduled.set(service, typeof when === 'number' ? when : when.getTime());
    },
    async rotateNow(service) {
      const entry = await heldEntry(service);
      if (entry !== undefined) return await replace(entry);
      const enrolled = inventory.newest().some((other) => other.service === service);
      throw new SidelockError('SL-STORE-001', `the manager holds no certificate of ${service} that it could rotate`, {
        why: enrolled ? 'its key is with its sidecar, which renews by itself' : 'none was issued',
        ...(enrolled ? { fix: 'leave it to the sidecar' } : {}),
      });
    },
    async checkAndRotateCertificates() {
      const rotated: string[] = [];
      const services = await store.list();
      const stored = new Set(services);
      // A step on trust changes what every service needs.
      if (seen !== generation()) looked.clear();
      seen = generation();
      for (const map of [failures, looked]) for (const name of map.keys()) if (!stored.has(name)) map.delete(name);
      for (const service of services) {
        try {
          if (await rotate(service)) rotated.push(service);
          failures.delete(service);
        } catch (error) {
          failures.set(service, error instanceof Error ? error.message : String(error));
          const code = isSidelockError(error) ? error.code : undefined;
          log.error({ event: 'rotation_failed', service, code, err: error }, `rotation of ${service} failed`);
        }
      }
      return rotated;
    },
    failures: () => failures,
  };
  return { rotationManager: rotation, ended: tick(rotation, options) };
}

/** Never rejects: it ends with the signal, and a failed check is no reason to stop checking. */
async function tick(rotation: RotationManager, { clock, log, signal }: RotationOptions): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(TICK_MS, signal);
      await rotation.checkAndRotateCertificates();
    } catch (error) {
      if (!isAbort(error)) log.error({ event: 'rotation_failed', err: error }, 'the check for due rotations failed');
    }
  }
}
