import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, DAY } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import { nextRenewal } from '../pki/renewal.ts';
import { span, utc } from '../pki/text.ts';
import { namesIn } from '../store/files.ts';
import type { CertStore } from '../store/store.ts';
import { type Authority, authorityDirectory } from './ca.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import { type Finding, validateFiles } from './validate-files.ts';

export interface ValidationReport {
  /** How many certificates were looked at. */
  readonly checked: number;
  /** One fault each, errors first. Empty: everything is in order. */
  readonly findings: readonly Finding[];
}

interface ValidationOptions {
  readonly store: CertStore;
  readonly storagePath: string;
  readonly stateDirectory: string;
  readonly inventory: Inventory;
  readonly authority: () => Authority;
  readonly bundle: () => TrustBundle;
  readonly isRevoked: (serial: string) => boolean;
  readonly trustDomain: string;
  readonly thresholdMs: number;
  readonly clock: Clock;
}

/** A root that ends sooner is told: replacing it takes every party. */
const CA_NOTICE_MS = 365 * DAY;

/**
 * Looks at every certificate there is as its peers will, at the files as other users may, and at the CA itself.
 * Reads only; with `services` only at those.
 */
export async function validateAll(options: ValidationOptions, services?: readonly string[]): Promise<ValidationReport> {
  const { store, inventory } = options;
  const wanted = (name: string) => services === undefined || services.includes(name);
  const held = (await store.list()).filter(wanted);
  const findings: Finding[] = services === undefined ? await caFindings(options) : [];
  for (const service of held) findings.push(...(await heldFindings(service, options)));
  const elsewhere = inventory
    .newest()
    .filter((entry) => wanted(entry.service) && entry.by !== 'generate' && !options.isRevoked(entry.serial));
  findings.push(...elsewhere.flatMap((entry) => enrolledFindings(entry, options)));
  for (const service of services ?? []) {
    if (held.includes(service) || inventory.newest().some((entry) => entry.service === service)) continue;
    const fix = `sidelock generate --service ${service}`;
    findings.push({ id: 'cert.missing', severity: 'error', service, message: 'it has no certificate', fix });
  }
  const rank = ({ severity }: Finding) => (severity === 'error' ? 0 : 1);
  return { checked: held.length + elsewhere.length, findings: findings.sort((a, b) => rank(a) - rank(b)) };
}

async function heldFindings(service: string, options: ValidationOptions): Promise<Finding[]> {
  const { storagePath, inventory, bundle, isRevoked, trustDomain, thresholdMs, clock } = options;
  const directory = join(storagePath, service);
  const { findings, leaf, trusted } = await validateFiles({
    service,
    directory,
    trustDomain,
    thresholdMs,
    now: clock.now(),
  });
  const entry = leaf === undefined ? undefined : inventory.get(leaf.serial);
  if (entry !== undefined && isRevoked(entry.serial)) {
    const message = `serial ${entry.serial} is revoked, and its files are still there`;
    const fix = `sidelock generate --service ${service}   makes a new one, or remove ${directory}`;
    findings.push({ id: 'cert.revoked', severity: 'error', service, message, fix });
  }
  if (leaf !== undefined && entry === undefined) {
    const message = `serial ${leaf.serial} is not in the inventory of this manager`;
    findings.push({
      id: 'inventory.unknown',
      severity: 'warning',
      service,
      message,
      fix: `sidelock rotate --services ${service}`,
    });
  }
  const present = new Set(trusted?.roots.map(({ fingerprint256 }) => fingerprint256));
  const missing =
    trusted === undefined ? [] : bundle().roots.filter(({ fingerprint256 }) => !present.has(fingerprint256));
  for (const root of missing) {
    const message = `ca.pem lacks the root ${root.subject} (sha256 ${root.fingerprint256.slice(0, 16)}) of this manager`;
    findings.push({
      id: 'bundle.root',
      severity: 'error',
      service,
      message,
      fix: `sidelock rotate --services ${service}`,
    });
  }
  return findings;
}

/** Of a certificate whose key is with its sidecar only the dates can be seen from here. */
function enrolledFindings(entry: InventoryEntry, { clock, thresholdMs }: ValidationOptions): Finding[] {
  const { service, notAfter, serial } = entry;
  const now = clock.now();
  if (now > notAfter) {
    const message = `the certificate of its sidecar (serial ${serial}) expired ${span(now - notAfter)} ago`;
    return [
      {
        id: 'cert.expired',
        severity: 'error',
        service,
        message,
        fix: `look at the log of its sidecar; enrol again: ${tokenCommand(entry)}`,
      },
    ];
  }
  // The sidecar asks up to a twentieth early and retries; a day late it is not merely on its way.
  if (now > nextRenewal(entry, thresholdMs, () => 0) + DAY) {
    const message = `its sidecar has not renewed; the certificate ends ${utc(notAfter)}`;
    return [{ id: 'cert.due', severity: 'warning', service, message, fix: 'look at the log of its sidecar' }];
  }
  return [];
}

async function caFindings({ authority, stateDirectory, clock }: ValidationOptions): Promise<Finding[]> {
  const service = 'ca';
  const { root, number } = authority();
  const findings: Finding[] = [];
  const left = root.notAfter - clock.now();
  if (left < CA_NOTICE_MS) {
    const message =
      left > 0 ? `the root ends in ${span(left)} (${utc(root.notAfter)})` : `the root ended ${utc(root.notAfter)}`;
    findings.push({
      id: 'ca.ends',
      severity: left > 0 ? 'warning' : 'error',
      service,
      message,
      fix: 'sidelock trust stage   makes the next root',
    });
  }
  const directory = authorityDirectory(stateDirectory, number);
  for (const file of (await namesIn(directory)).filter((name) => name.endsWith('.key'))) {
    const path = join(directory, file);
    const { mode } = await stat(path);
    if ((mode & 0o077) === 0) continue;
    const message = `${path} can be read by other users (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`;
    findings.push({
      id: 'ca.mode',
      severity: 'error',
      service,
      message,
      fix: `chmod 0600 ${path}, and replace the CA if somebody may have read it`,
    });
  }
  return findings;
}
