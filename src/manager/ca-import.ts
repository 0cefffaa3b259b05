import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import { createMetrics } from '../base/metrics.ts';
import type { CaFinding } from '../pki/ca-findings.ts';
import { examineCa } from '../pki/ca-fitness.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';
import { privateKeyFromPem } from '../pki/keys.ts';
import { DIRECTORY_MODE } from '../store/layout.ts';
import { lockDirectory } from '../store/lock.ts';
import { checkDirectory } from '../store/rights.ts';
import { openAuditLog } from './audit.ts';
import { type AuthorityOptions, type GivenCa, makeAuthority } from './ca.ts';
import { createManagerMetrics } from './metrics.ts';
import { checkSubject, sansOf, spiffeIdOf } from './subject.ts';
import { openState } from './trust-roots.ts';

/** PEM. */
export interface CaFiles {
  /** That of the key, and perhaps its issuers. */
  readonly certificate: string;
  readonly key: string;
  /** The rest up to the root. */
  readonly chain?: string | undefined;
}

/** What an import found, and did. */
export interface ImportReport {
  readonly findings: readonly CaFinding[];
  /** From the certificate of the key to the root. */
  readonly path: ReadonlyArray<{
    readonly subject: string;
    readonly sha256: string;
    /** ms since the epoch. */
    readonly notAfter: number;
  }>;
  /** What it would issue. */
  readonly leaf?:
    | {
        readonly subject: string;
        readonly sans: readonly string[];
        readonly notAfter: number;
        readonly keyType: string;
      }
    | undefined;
  readonly taken: boolean;
}

interface Terms {
  readonly authority: AuthorityOptions;
  /** Of the certificates it shall issue, ms. */
  readonly leafMs: number;
  readonly known: readonly Certificate[];
}

/** @throws SL-PEM-* when the files do not parse */
export async function examineFiles(
  { certificate, key, chain = '' }: CaFiles,
  { authority, leafMs, known }: Terms,
): Promise<{ readonly given: GivenCa; readonly fit: boolean; readonly report: Omit<ImportReport, 'taken'> }> {
  const { trustDomain, dnsDomains, issuer: tier, clock } = authority;
  const subject = checkSubject({ service: 'orders' }, []);
  const candidate = {
    certificates: [
      ...certificatesFromPem(certificate, 'the certificate'),
      ...(chain.trim() === '' ? [] : certificatesFromPem(chain, 'the chain')),
    ],
    key: privateKeyFromPem(key, 'the key'),
  };
  const { findings, path, leaf } = await examineCa(candidate, {
    ...{ now: clock.now(), trustDomain, dnsDomains, leafMs, tier, known },
    sample: { spiffeId: spiffeIdOf(subject, trustDomain), sans: sansOf(subject, trustDomain) },
  });
  return {
    given: { path, key: candidate.key },
    fit: !findings.some(({ level }) => level === 'error'),
    report: {
      findings,
      path: path.map(({ subject: name, fingerprint256: sha256, notAfter }) => ({ subject: name, sha256, notAfter })),
      leaf: leaf && {
        subject: leaf.subject,
        sans: (leaf.sans ?? []).map(({ value }) => value),
        notAfter: leaf.notAfter,
        keyType: leaf.keyType ?? '',
      },
    },
  };
}

/**
 * Makes somebody's CA that of a storage which has none yet.
 * @throws SL-CA-004 when there is one already, SL-STORE-002, SL-PEM-*
 */
export async function importFirst(
  files: CaFiles,
  terms: Omit<Terms, 'known'>,
  { dryRun }: { readonly dryRun: boolean },
): Promise<ImportReport> {
  const { stateDirectory, clock, log } = terms.authority;
  const { given, fit, report } = await examineFiles(files, { ...terms, known: [] });
  if (!fit || dryRun) return { ...report, taken: false };
  await mkdir(stateDirectory, { recursive: true, mode: DIRECTORY_MODE });
  await checkDirectory(stateDirectory, { repair: true, log });
  await using _lock = await lockDirectory(stateDirectory, { clock });
  const metrics = createManagerMetrics(createMetrics(), '');
  await using audit = await openAuditLog({ path: join(stateDirectory, 'audit.log'), clock, log, metrics });
  if (audit.head().seq > 0) throw occupied(stateDirectory);
  const { root } = await makeAuthority(terms.authority, { number: 1, given });
  await openState({ ...terms.authority, usedBefore: false });
  await audit.append({
    action: 'ca_imported',
    actor: 'operator',
    serial: root.serial,
    result: 'ok',
    why: root.subject,
  });
  return { ...report, taken: true };
}

function occupied(stateDirectory: string): SidelockError {
  return new SidelockError('SL-CA-004', `there is a certificate authority in ${stateDirectory} already`, {
    why: 'it came while this import was at work',
    fix: 'run the command again: it then follows the one that is there',
  });
}
