import { createHash } from 'node:crypto';
import type { Certificate } from './certificate.ts';
import { certificatesFromPem } from './certificate.ts';
import { type Crl, crlError, MAX_CRL, type RevokedEntry, readCrl, revocationOf } from './crl.ts';
import { pemBlocks, pemEncode } from './pem.ts';
import { caFault } from './rules.ts';

/** The revocation lists in force at one moment, one an issuer: while a root follows another there are two. */
export interface CrlSet {
  readonly lists: readonly Crl[];
  /** All of them, one block after the other. */
  readonly pem: string;
  /** SHA-256 over those of the lists, lower-case hex. */
  readonly sha256: string;
  /** The highest. */
  readonly number: number;
  /** ms since the epoch, of the oldest list. */
  readonly thisUpdate: number;
  /** ms since the epoch, of the list that ends first. */
  readonly nextUpdate: number;
  /** Of all lists, by serial. */
  readonly entries: ReadonlyMap<string, RevokedEntry>;
}

export function crlSet(lists: readonly Crl[]): CrlSet {
  return Object.freeze({
    lists,
    pem: lists.map(({ pem }) => pem).join(''),
    sha256: createHash('sha256')
      .update(lists.map(({ sha256 }) => sha256).join())
      .digest('hex'),
    number: Math.max(...lists.map(({ number }) => number)),
    thisUpdate: Math.min(...lists.map(({ thisUpdate }) => thisUpdate)),
    nextUpdate: Math.min(...lists.map(({ nextUpdate }) => nextUpdate)),
    entries: new Map(lists.flatMap(({ entries }) => [...entries])),
  });
}

/**
 * Decodes one or more lists, each of another issuer: of two of one issuer either could count (C74).
 * @throws SL-CRL-001 with `data.reason`, SL-PEM-*
 */
export function readCrlSet(pem: string, file: string): CrlSet {
  if (pem.trim() === '') return crlSet([readCrl(pem, file)]);
  const lists = pemBlocks(pem, file, MAX_CRL).map(({ label, der }) => readCrl(pemEncode(label, der), file));
  if (new Set(lists.map(({ aki }) => aki)).size < lists.length) {
    throw crlError(file, 'malformed', 'it holds two lists of one issuer');
  }
  return crlSet(lists);
}

/** The entry of `certificate` in the list of its issuer. */
export function revocationIn(lists: readonly Crl[], certificate: Certificate): RevokedEntry | undefined {
  for (const list of lists) {
    const entry = revocationOf(list, certificate);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** Those certificates of a PEM text that one of `roots` signed as CAs: who else may have made a list. @throws SL-PEM-* */
export function issuersUnder(roots: readonly Certificate[], pem: string, file: string): Certificate[] {
  if (pem === '') return [];
  return certificatesFromPem(pem, file).filter(
    (issuer) =>
      caFault(issuer, 'it') === undefined &&
      roots.some((root) => issuer.issuerDer.equals(root.subjectDer) && issuer.x509.verify(root.x509.publicKey)),
  );
}
