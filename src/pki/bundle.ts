import { createHash } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import type { Certificate } from './certificate.ts';
import { certificatesFromPem } from './certificate.ts';
import { certificatesToPem } from './pem.ts';
import { caFault, criticalFault, keyFault } from './rules.ts';
import { shortKeyId, utc } from './text.ts';

/** The roots that peers may chain to. Whoever adds one *is* the CA, so each is judged when loaded. */
export interface TrustBundle {
  /** Without duplicates, in the order of the file. */
  readonly roots: readonly Certificate[];
  /** The roots alone, written anew: what OpenSSL is given is what was judged. */
  readonly pem: string;
  /** SHA-256 over the sorted fingerprints: equal for equal sets, in any order. Lower-case hex. */
  readonly sha256: string;
  /** Subject key identifiers in lower-case hex, or the first 20 octets of the key's SHA-256 for a root without one. */
  readonly keyIds: readonly string[];
}

/**
 * Reads a trust bundle. One block that does not parse, or one unfit root, refuses the whole file.
 * A root that has expired is kept as long as another is in date, so that a rollover can end late.
 * @param now ms since the epoch
 * @throws SL-BUNDLE-001 when it holds nothing, SL-BUNDLE-002 naming the unfit root, SL-PEM-* naming the line
 */
export function parseBundle(pem: string | Buffer, file: string, now: number): TrustBundle {
  if (pem.toString().trim() === '') throw emptyError(file);
  const roots = distinct(certificatesFromPem(pem, file));
  if (roots.length === 0) throw emptyError(file);
  for (const root of roots) {
    const why = unfitness(root);
    if (why !== undefined) throw unfitError(file, root, why);
  }
  if (!roots.some((root) => inDate(root, now))) {
    const [root] = roots;
    if (root !== undefined) throw unfitError(file, root, `${dates(root, now)}, and no other root is in date`);
  }
  return Object.freeze({
    roots: Object.freeze(roots),
    pem: certificatesToPem(roots),
    sha256: sha256(
      roots
        .map(({ fingerprint256 }) => fingerprint256)
        .sort()
        .join('\n'),
    ),
    keyIds: Object.freeze(roots.map(({ ski, spkiSha256 }) => ski ?? spkiSha256.slice(0, 40))),
  });
}

/** Why a certificate cannot be a root, or undefined. */
function unfitness(root: Certificate): string | undefined {
  if (!root.subjectDer.equals(root.issuerDer)) {
    return `it was issued by ${root.issuer}: an intermediate belongs into cert.pem, its root belongs here`;
  }
  if (root.version !== 3) return `it is an X.509 v${root.version} certificate without basicConstraints`;
  const broken = caFault(root, 'it') ?? keyFault(root, 'it') ?? criticalFault(root, 'it');
  if (broken !== undefined) return broken.detail;
  // The algorithm of this signature proves nothing about a root, so SHA-1 is no fault here.
  return verifies(root) ? undefined : 'its own key does not verify its signature';
}

function verifies(root: Certificate): boolean {
  try {
    return root.x509.verify(root.x509.publicKey);
  } catch {
    return false;
  }
}

function inDate({ notBefore, notAfter }: Certificate, now: number): boolean {
  return notBefore <= now && now <= notAfter;
}

function dates({ notBefore, notAfter }: Certificate, now: number): string {
  return now > notAfter ? `it expired ${utc(notAfter)}` : `it is valid from ${utc(notBefore)}, here it is ${utc(now)}`;
}

function unfitError(file: string, root: Certificate, why: string): SidelockError {
  const { subject, ski, serial, fingerprint256 } = root;
  return new SidelockError(
    'SL-BUNDLE-002',
    `${file} holds a certificate that cannot be a root: ${subject || 'no name'}`,
    {
      why: `${why} (serial ${serial}, key id ${shortKeyId(ski)})`,
      data: { file, subject, serial, fingerprint256 },
    },
  );
}

function emptyError(file: string): SidelockError {
  return new SidelockError('SL-BUNDLE-001', `the trust bundle ${file} is empty`, {
    why: 'it holds no certificate',
    data: { file },
  });
}

function distinct(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((c) => [c.fingerprint256, c])).values()];
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
