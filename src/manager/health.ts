import { setImmediate } from 'node:timers/promises';
import { isSidelockError } from '../base/errors.ts';
import { readIdentity } from '../pki/material.ts';
import type { ServiceCertificate } from '../store/store.ts';
import { type AlertLevel, atLeast, type Finding } from './alerts/alert.ts';
import { type CertificateFacts, judgeAuthority, judgeCertificate } from './alerts/rules.ts';
import type { InventoryEntry } from './inventory.ts';
import type { Manager } from './manager.ts';
import { createSslContext } from './ssl-context.ts';
import type { Timings } from './timings.ts';

/** What monitoring needs of a manager. */
export type WatchedManager = Pick<
  Manager,
  | 'ca'
  | 'store'
  | 'listAllCertificates'
  | 'recentlyIssued'
  | 'rotationManager'
  | 'renewAt'
  | 'blockers'
  | 'version'
  | 'revocations'
  | 'served'
  | 'edges'
  | 'trust'
>;

export interface ServiceHealth {
  readonly entry: InventoryEntry;
  readonly held: boolean;
  readonly renewAt: number;
  /** The gravest level of its findings. */
  readonly status: 'healthy' | 'revoked' | AlertLevel;
}

export interface Health {
  /** ms since the epoch. */
  readonly checkedAt: number;
  readonly services: readonly ServiceHealth[];
  readonly findings: readonly Finding[];
  /** Certificates of the store that could not be read, or do not fit together. */
  readonly readErrors: number;
}

interface Stopwatches {
  readonly load: Timings;
  readonly validation: Timings;
  readonly context: Timings;
}

/** Contexts are built for a sample: they cost the most, and the files were judged already. */
const CONTEXTS = 20;

/**
 * Checks the newest certificate of each identity: its end, whether it was renewed in time, and, where the store holds
 * it, that files, key and chain fit together as a peer will see them. Other work gets its turn after each.
 */
export async function checkHealth(
  manager: WatchedManager,
  now: number,
  watches: Stopwatches,
  signal: AbortSignal,
): Promise<Health> {
  const { ca, store, rotationManager } = manager;
  const failures = rotationManager.failures();
  const unusable = new Map<string, string>();
  const heldSerials = new Set<string>();
  let contexts = 0;
  for (const service of await store.list()) {
    try {
      const files = await timed(watches.load, () => store.load(service));
      if (files === undefined) continue;
      heldSerials.add(files.leaf.serial);
      await timed(watches.validation, () => validate(files, now));
      if (contexts++ < CONTEXTS) await timed(watches.context, () => createSslContext(files));
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      unusable.set(service, error.message);
    }
    await setImmediate();
    signal.throwIfAborted();
  }

  const findings: Finding[] = judgeAuthority(
    {
      name: ca.caName,
      notBefore: ca.rootNotBefore,
      notAfter: ca.rootNotAfter,
      blockers: manager.blockers().map(({ why }) => why),
      rollover: { phase: manager.trust.phase(), since: manager.trust.since(), behind: manager.trust.behind() },
    },
    now,
  );
  const served = manager.served();
  const services = [...manager.listAllCertificates().values()].map((entry): ServiceHealth => {
    const why = unusable.get(entry.service);
    const held = heldSerials.has(entry.serial) || (why !== undefined && entry.by === 'generate');
    const renewAt = manager.renewAt(entry);
    // Nobody waits for it any more: it is neither well nor ill.
    if (manager.revocations.get(entry.serial) !== undefined) return { entry, held, renewAt, status: 'revoked' };
    const rotationFailure = held ? failures.get(entry.service) : undefined;
    const unserved = !held && entry.reported === undefined && served.has(entry.spiffeId);
    const facts: CertificateFacts = {
      ...{ service: entry.service, namespace: entry.namespace, notBefore: entry.notBefore, notAfter: entry.notAfter },
      ...{ renewAt, held },
      ...(why === undefined || !held ? {} : { unusable: why }),
      ...(unserved ? { unservedSince: entry.issuedAt } : {}),
      ...(rotationFailure === undefined ? {} : { rotationFailure }),
    };
    const found = judgeCertificate(facts, now);
    findings.push(...found);
    return { entry, held, renewAt, status: gravest(found) };
  });
  return { checkedAt: now, services, findings, readErrors: unusable.size };
}

/** That it has ended is told by its own rule. */
function validate({ serviceName, certificate, privateKey, caCertificate }: ServiceCertificate, now: number): void {
  const files = { cert: `${serviceName}/cert.pem`, key: `${serviceName}/key.pem`, ca: `${serviceName}/ca.pem` };
  readIdentity({ cert: certificate, key: privateKey, ca: caCertificate }, { now, files, allowExpired: true });
}

async function timed<T>(watch: Timings, work: () => T | Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  watch.observe(performance.now() - started);
  return result;
}

function gravest(found: readonly Finding[]): 'healthy' | AlertLevel {
  return found.reduce<'healthy' | AlertLevel>(
    (worst, { level }) => (worst === 'healthy' || atLeast(level, worst) ? level : worst),
    'healthy',
  );
}
