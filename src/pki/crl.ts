import { createHash, verify } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import { type Certificate, serialHex } from './certificate.ts';
import {
  DerError,
  type DerNode,
  expectTag,
  readBitString,
  readBoolean,
  readDer,
  readInteger,
  readOid,
  readTime,
  sequenceOf,
  TAG,
} from './der.ts';
import { pemBlocks } from './pem.ts';
import { checkStrictDer } from './strict-der.ts';
import { utc } from './text.ts';

/** Why a certificate was revoked, with the numbers of RFC 5280 5.3.1. A hold could be lifted, so there is none. */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;
export type RevocationReason = keyof typeof REVOCATION_REASONS;

/** Bytes of revocation lists as PEM text: about 100,000 entries. */
export const MAX_CRL = 8 << 20;

export const CRL_EXTENSION = { crlNumber: '2.5.29.20', reasonCode: '2.5.29.21', aki: '2.5.29.35' } as const;

export interface RevokedEntry {
  readonly reason: RevocationReason;
  /** ms since the epoch. */
  readonly at: number;
}

/** One revocation list, as it says; `verifyCrl` decides whether it counts. */
export interface Crl {
  readonly pem: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
  readonly number: number;
  readonly issuerDer: Buffer;
  /** Key identifier of the issuer, lower-case hex. */
  readonly aki: string;
  /** ms since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** By serial, spelled as in {@link Certificate}. */
  readonly entries: ReadonlyMap<string, RevokedEntry>;
  /** What was signed, by which algorithm, with which result. */
  readonly signed: { readonly der: Buffer; readonly algorithm: string; readonly signature: Buffer };
}

/**
 * Decodes the one CRL of a PEM text (RFC 5280 5, version 2). Delta and indirect lists, and whatever else is critical
 * and not known here, are refused.
 * @throws SL-CRL-001 with `data.reason`, SL-PEM-*
 */
export function readCrl(pem: string | Buffer, file: string): Crl {
  if (pem.toString('latin1').trim() === '') throw crlError(file, 'empty', 'it is empty');
  const [block, ...more] = pemBlocks(pem, file, MAX_CRL);
  if (block === undefined || block.label !== 'X509 CRL') {
    throw crlError(file, 'malformed', `it holds a ${block?.label} block, not an X509 CRL`);
  }
  // Two lists of one issuer: OpenSSL would take either (C74).
  if (more.length > 0) throw crlError(file, 'malformed', `it holds ${more.length + 1} blocks where one is expected`);
  try {
    return Object.freeze({ ...decode(block.der), pem: pem.toString('latin1') });
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw crlError(file, 'malformed', error.message, error);
  }
}

interface Rules {
  /** Names the list in errors. */
  readonly file: string;
  /** Who may have signed it: roots, and intermediates that were verified. */
  readonly issuers: readonly Certificate[];
  /** ms since the epoch. */
  readonly now: number;
  /** The list held so far: one with a lower number is a rollback. */
  readonly held?: Crl | undefined;
  /** Takes one whose nextUpdate has passed: what it revokes stays revoked. */
  readonly allowStale?: boolean;
}

/** @throws SL-CRL-001 with `data.reason`: wrong_issuer, bad_signature, not_yet_valid, expired, older */
export function verifyCrl(crl: Crl, { file, issuers, now, held, allowStale = false }: Rules): void {
  const named = issuers.filter(({ subjectDer }) => subjectDer.equals(crl.issuerDer));
  const issuer = named.find(({ ski }) => ski === crl.aki);
  if (issuer === undefined || (issuer.keyUsage !== undefined && !issuer.keyUsage.has('cRLSign'))) {
    throw crlError(file, 'wrong_issuer', 'no issuer that we trust may have made it');
  }
  if (!signedBy(crl, issuer)) throw crlError(file, 'bad_signature', 'its signature is not by its issuer');
  if (crl.thisUpdate > now + CLOCK_SKEW_MS) {
    throw crlError(file, 'not_yet_valid', `it is of ${utc(crl.thisUpdate)}, here it is ${utc(now)}`);
  }
  if (crl.nextUpdate <= now && !allowStale) {
    throw crlError(file, 'expired', `the next one was due ${utc(crl.nextUpdate)}, here it is ${utc(now)}`);
  }
  if (held !== undefined && held.aki === crl.aki && crl.number < held.number) {
    throw crlError(file, 'older', `its number is ${crl.number}, number ${held.number} was already seen`);
  }
}

/** The entry of `certificate`, when its issuer is that of the list. */
export function revocationOf(crl: Crl, certificate: Certificate): RevokedEntry | undefined {
  const { issuerDer, aki, serial } = certificate;
  if (!issuerDer.equals(crl.issuerDer) || (aki !== undefined && aki !== crl.aki)) return undefined;
  return crl.entries.get(serial);
}

const CLOCK_SKEW_MS = 5 * 60_000;

/** Hash by signature algorithm; null where the algorithm brings its own. */
const HASHES: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
};

function signedBy({ signed: { der, algorithm, signature } }: Crl, { x509 }: Certificate): boolean {
  const hash = HASHES[algorithm];
  if (hash === undefined) return false;
  try {
    return verify(hash, der, x509.publicKey, signature);
  } catch {
    return false;
  }
}

function decode(der: Buffer): Omit<Crl, 'pem'> {
  const whole = readDer(der);
  checkStrictDer(whole);
  const [list, outer, signature, ...rest] = sequenceOf(whole, 'CertificateList');
  if (rest.length > 0) throw new DerError('CertificateList has more than three parts');
  const parts = [...sequenceOf(list, 'tbsCertList')];
  if (!readInteger(parts.shift(), 'version').equals(Buffer.from([1]))) throw new DerError('it is no CRL of version 2');
  const inner = expectTag(parts.shift(), TAG.sequence, 'signature');
  const algorithm = expectTag(outer, TAG.sequence, 'signatureAlgorithm');
  if (!inner.raw.equals(algorithm.raw))
    throw new DerError('the signature algorithm inside differs from the one outside');
  const issuer = expectTag(parts.shift(), TAG.sequence, 'issuer');
  const thisUpdate = readTime(parts.shift(), 'thisUpdate');
  const nextUpdate = readTime(parts.shift(), 'nextUpdate');
  const revoked = parts[0]?.tag === TAG.sequence ? parts.shift() : undefined;
  const extensions = extensionsOf(sequenceOf(parts.shift(), 'crlExtensions', 0xa0)[0], 'crlExtensions');
  if (parts.length > 0) throw new DerError('tbsCertList has an unknown part at its end');
  // A delta or a partial list is marked by a critical extension, as is an indirect one.
  refuseUnknown(extensions, [CRL_EXTENSION.crlNumber, CRL_EXTENSION.aki]);
  const number = readInteger(known(extensions, CRL_EXTENSION.crlNumber), 'cRLNumber');
  if (number.length > 6 || (number[0] ?? 0) >= 0x80) throw new DerError('cRLNumber is out of range');
  const aki = sequenceOf(known(extensions, CRL_EXTENSION.aki), 'authorityKeyIdentifier').find(
    ({ tag }) => tag === 0x80,
  );
  if (aki === undefined) throw new DerError('authorityKeyIdentifier has no key identifier');
  return {
    sha256: createHash('sha256').update(der).digest('hex'),
    number: number.readUIntBE(0, number.length),
    issuerDer: issuer.raw,
    aki: aki.content.toString('hex'),
    thisUpdate,
    nextUpdate,
    entries: revoked === undefined ? new Map() : new Map(sequenceOf(revoked, 'revokedCertificates').map(readEntry)),
    signed: {
      der: expectTag(list, TAG.sequence, 'tbsCertList').raw,
      algorithm: readOid(sequenceOf(algorithm, 'signatureAlgorithm')[0], 'signatureAlgorithm'),
      signature: wholeOctets(signature),
    },
  };
}

/** A signature with unused bits would be another text of the same list. */
function wholeOctets(node: DerNode | undefined): Buffer {
  const { bits, unused } = readBitString(node, 'signatureValue');
  if (unused > 0) throw new DerError('signatureValue has unused bits');
  return bits;
}

function readEntry(node: DerNode): [string, RevokedEntry] {
  const [serial, date, extra, ...rest] = sequenceOf(node, 'an entry');
  if (rest.length > 0) throw new DerError('an entry has more than three parts');
  const extensions = extra === undefined ? [] : extensionsOf(extra, 'crlEntryExtensions');
  refuseUnknown(extensions, [CRL_EXTENSION.reasonCode]);
  const code = extensions.find(({ oid }) => oid === CRL_EXTENSION.reasonCode)?.value;
  const number = code === undefined ? 0 : expectTag(readDer(code), ENUMERATED, 'reasonCode').content[0];
  const reason = REASONS.get(number ?? 0);
  // removeFromCRL stands in delta lists only; a hold is over when its list says so no more.
  if (number === 8) throw new DerError('an entry takes a revocation back: it is of a delta CRL');
  const at = readTime(date, 'revocationDate');
  return [serialHex(readInteger(serial, 'userCertificate')), { reason: reason ?? 'unspecified', at }];
}

const ENUMERATED = 0x0a;
const REASONS = new Map(Object.entries(REVOCATION_REASONS).map(([name, n]) => [n as number, name as RevocationReason]));

interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

function extensionsOf(list: DerNode | undefined, what: string): Extension[] {
  return sequenceOf(list, what).map((node) => {
    const parts = [...sequenceOf(node, 'an extension')];
    const oid = readOid(parts.shift(), 'extnID');
    const critical = parts[0]?.tag === TAG.boolean && readBoolean(parts.shift(), 'critical');
    return { oid, critical, value: expectTag(parts[0], TAG.octetString, `extension ${oid}`).content };
  });
}

function refuseUnknown(extensions: readonly Extension[], understood: readonly string[]): void {
  const seen = new Set<string>();
  for (const { oid, critical } of extensions) {
    if (seen.has(oid)) throw new DerError(`extension ${oid} stands there twice`);
    seen.add(oid);
    if (critical && !understood.includes(oid)) {
      throw new DerError(`critical extension ${oid} is not understood: delta, indirect and partial CRLs are not taken`);
    }
  }
}

function known(extensions: readonly Extension[], oid: string): DerNode {
  const found = extensions.find((extension) => extension.oid === oid);
  if (found === undefined) throw new DerError(`extension ${oid} is missing`);
  return readDer(found.value);
}

export function crlError(file: string, reason: string, why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-CRL-001', `the revocation list ${file} is refused`, {
    why,
    cause,
    data: { file, reason },
  });
}
