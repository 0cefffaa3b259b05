import { createHash, createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import type { Element } from './assemble.ts';
import { commonName, integer, parsed, sequence, tagged, time } from './assemble.ts';
import type { Certificate } from './certificate.ts';
import { EKU, EXTENSION, parseCertificate } from './certificate.ts';
import { readBitString, readDer } from './der.ts';
import {
  authorityKeyIdentifier,
  basicConstraints,
  extKeyUsage,
  keyUsage,
  serviceNameConstraints,
  subjectAltName,
  subjectKeyIdentifier,
} from './extensions.ts';
import { keyTypeOf, spkiOf, spkiSha256 } from './keys.ts';
import { nameConstraintFault } from './name-constraints.ts';
import type { San } from './names.ts';
import { parseSpiffeId, serviceOf } from './names.ts';
import { leafFault } from './peer-leaf.ts';
import { algorithmIdentifier, signed, signedAsync } from './signing.ts';
import { utc } from './text.ts';

/** A CA certificate and the private key that belongs to it. */
export interface Signer {
  readonly certificate: Certificate;
  readonly key: KeyObject;
}

interface RootOptions {
  /** Common name. */
  readonly name: string;
  /** Private key of the root. */
  readonly key: KeyObject;
  /** ms since the epoch. */
  readonly now: number;
  readonly validityYears: number;
  /** From 2 on it stands in the common name: roots of one name and different keys confuse OpenSSL (C31). */
  readonly generation?: number;
}

interface IssuerOptions {
  readonly name: string;
  /** The root. */
  readonly issuer: Signer;
  /** Public key of the new issuer. */
  readonly publicKey: KeyObject;
  /** ms since the epoch. */
  readonly now: number;
  readonly validityYears: number;
  readonly trustDomain: string;
  /** Domains of DNS names besides those that every service has, without a leading dot. */
  readonly dnsDomains?: readonly string[];
}

interface LeafOptions {
  readonly signer: Signer;
  readonly publicKey: KeyObject;
  readonly spiffeId: string;
  /** DNS names and addresses; the SPIFFE id is added. */
  readonly sans: readonly San[];
  readonly validityMs: number;
  /** ms since the epoch. */
  readonly now: number;
  /** OIDs; serverAuth and clientAuth unless given. */
  readonly eku?: readonly string[];
}

const MINUTE = 60_000;
/** Clocks of peers may be behind ours by this much. */
const BACKDATE = 2 * MINUTE;
/** Where the DNS names of services lie, besides the trust domain (`dnsNamesFor`). */
const SERVICE_DOMAINS = ['svc', 'svc.cluster.local'];

/** A self-signed root: CA, keyCertSign and cRLSign, no path length. */
export async function createRoot(options: RootOptions): Promise<Certificate> {
  const { name, key, now, validityYears, generation = 1 } = options;
  const publicKey = createPublicKey(key);
  const subject = commonName(generation === 1 ? name : `${name} (${generation})`);
  const keyId = keyIdOf(publicKey);
  const tbs = tbsCertificate({
    signingKey: key,
    issuer: subject,
    subject,
    validity: { notBefore: now - BACKDATE, notAfter: addYears(now, validityYears) },
    publicKey,
    extensions: [
      basicConstraints(true),
      keyUsage('keyCertSign', 'cRLSign'),
      subjectKeyIdentifier(keyId),
      authorityKeyIdentifier(keyId),
    ],
  });
  const root = parseCertificate(await signedAsync(tbs, key));
  return readBack(root, { certificate: root, key }, publicKey);
}

/**
 * An issuer of services under a root: path length 0, and held to the trust domain and the domains of service names.
 * It ends with the root at the latest.
 * @throws SL-CA-003 when the root is not in date
 */
export async function createIssuer(options: IssuerOptions): Promise<Certificate> {
  const { name, issuer, publicKey, now, validityYears, trustDomain, dnsDomains = [] } = options;
  const tbs = tbsCertificate({
    signingKey: issuer.key,
    issuer: parsed(issuer.certificate.subjectDer),
    subject: commonName(name),
    validity: validityUnder(issuer, now, addYears(now, validityYears)),
    publicKey,
    extensions: [
      basicConstraints(true, 0),
      keyUsage('keyCertSign', 'cRLSign'),
      subjectKeyIdentifier(keyIdOf(publicKey)),
      authorityKeyIdentifier(keyIdOfSigner(issuer)),
      serviceNameConstraints(trustDomain, [...new Set([trustDomain, ...SERVICE_DOMAINS, ...dnsDomains])]),
    ],
  });
  return readBack(parseCertificate(await signedAsync(tbs, issuer.key)), issuer, publicKey);
}

/**
 * The key of `root` once more, vouched for by `issuer`, the root before it: who knows only that one can verify what
 * `root` signs. It ends with the earlier of the two.
 * @throws SL-CA-003 when `issuer` is not in date
 */
export async function crossSign(root: Certificate, issuer: Signer, now: number): Promise<Certificate> {
  const { publicKey } = root.x509;
  const tbs = tbsCertificate({
    signingKey: issuer.key,
    issuer: parsed(issuer.certificate.subjectDer),
    subject: parsed(root.subjectDer),
    validity: validityUnder(issuer, now, root.notAfter),
    publicKey,
    extensions: [
      basicConstraints(true),
      keyUsage('keyCertSign', 'cRLSign'),
      // Its own: what it issued names the key by it, whoever made it.
      subjectKeyIdentifier(keyIdOfSigner({ certificate: root })),
      authorityKeyIdentifier(keyIdOfSigner(issuer)),
    ],
  });
  return readBack(parseCertificate(await signedAsync(tbs, issuer.key)), issuer, publicKey);
}

/**
 * A certificate for a service. It begins two minutes before `now` and never outlives its signer.
 * A signer with name constraints cannot vouch for names of one label (`web`), so they are left out under one.
 * @throws SL-NAME-004 when the signer is constrained to other names, SL-CA-003 when it is not in date,
 * SL-KEY-001, SL-NAME-001, SL-CERT-002 when peers would refuse the result
 */
export function issueLeaf(options: LeafOptions): Certificate {
  const { signer, publicKey, spiffeId, sans, validityMs, now, eku = [EKU.serverAuth, EKU.clientAuth] } = options;
  const id = parseSpiffeId(spiffeId);
  const service = serviceOf(id)?.service;
  const names: readonly San[] = [{ type: 'uri', value: id.uri }, ...namesUnder(signer, sans)];
  const isRsa = keyTypeOf(publicKey).startsWith('rsa');
  const tbs = tbsCertificate({
    signingKey: signer.key,
    issuer: parsed(signer.certificate.subjectDer),
    subject: service === undefined ? sequence() : commonName(service),
    validity: validityUnder(signer, now, now + validityMs),
    publicKey,
    extensions: [
      basicConstraints(false),
      isRsa ? keyUsage('digitalSignature', 'keyEncipherment') : keyUsage('digitalSignature'),
      extKeyUsage(eku),
      subjectKeyIdentifier(keyIdOf(publicKey)),
      authorityKeyIdentifier(keyIdOfSigner(signer)),
      subjectAltName(names, service === undefined),
    ],
  });
  const leaf = readBack(parseCertificate(signed(tbs, signer.key)), signer, publicKey);
  checkFitness(leaf, signer, now, id.trustDomain);
  return leaf;
}

interface Validity {
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

interface Tbs {
  readonly signingKey: KeyObject;
  readonly issuer: Element;
  readonly subject: Element;
  readonly validity: Validity;
  readonly publicKey: KeyObject;
  readonly extensions: Element[];
}

function tbsCertificate({ signingKey, issuer, subject, validity, publicKey, extensions }: Tbs): Element {
  return sequence(
    tagged(0, integer(2)),
    integer(...serialNumber()),
    algorithmIdentifier(signingKey),
    issuer,
    sequence(time(validity.notBefore), time(validity.notAfter)),
    subject,
    parsed(spkiOf(publicKey)),
    tagged(3, sequence(...extensions)),
  );
}

/** 16 random octets; the top bit is clear and the next one set, so it is positive and always of one length. */
function serialNumber(): Buffer {
  const octets = randomBytes(16);
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return octets;
}

function validityUnder({ certificate }: Signer, now: number, notAfter: number): Validity {
  if (now < certificate.notBefore || now >= certificate.notAfter) {
    const { subject, notBefore, notAfter: end } = certificate;
    const why = `it is valid from ${utc(notBefore)} to ${utc(end)}, our clock says ${utc(now)}`;
    throw new SidelockError('SL-CA-003', `${subject} cannot issue now`, { why });
  }
  return {
    // Less for a short leaf: its 2/3 of life, when it is renewed, must not lie before it was made.
    notBefore: Math.max(now - Math.min(BACKDATE, (notAfter - now) / 10), certificate.notBefore),
    notAfter: Math.min(notAfter, certificate.notAfter),
  };
}

function addYears(ms: number, years: number): number {
  const date = new Date(ms);
  date.setUTCFullYear(date.getUTCFullYear() + years);
  return date.getTime();
}

function namesUnder({ certificate }: Signer, sans: readonly San[]): readonly San[] {
  const constrained = certificate.extensions.some(({ oid }) => oid === EXTENSION.nameConstraints);
  return constrained ? sans.filter(({ type, value }) => type !== 'dns' || value.includes('.')) : sans;
}

/** RFC 7093 2 (1): the first 160 bits of the SHA-256 of the key. */
function keyIdOf(publicKey: KeyObject): Buffer {
  const { bits } = readBitString(readDer(spkiOf(publicKey)).children[1], 'subjectPublicKey');
  return createHash('sha256').update(bits).digest().subarray(0, 20);
}

/** Its subject key identifier. */
export function keyIdOfSigner({ certificate }: Pick<Signer, 'certificate'>): Buffer {
  return certificate.ski === undefined ? keyIdOf(certificate.x509.publicKey) : Buffer.from(certificate.ski, 'hex');
}

/** What was assembled is trusted only as read by others: OpenSSL, and our own reader. */
function readBack(made: Certificate, signer: Signer, publicKey: KeyObject): Certificate {
  const { x509, issuerDer, spkiSha256: key } = made;
  const fits =
    x509.verify(signer.certificate.x509.publicKey) &&
    x509.checkIssued(signer.certificate.x509) &&
    issuerDer.equals(signer.certificate.subjectDer) &&
    key === spkiSha256(publicKey);
  if (fits) return made;
  const why = 'its signature, issuer or key is not the one it was made with: certificate and key of the CA may differ';
  throw new SidelockError('SL-CA-001', `${signer.certificate.subject} made a certificate that does not verify`, {
    why,
  });
}

/** Nothing is issued that a peer would refuse. */
function checkFitness(leaf: Certificate, signer: Signer, now: number, trustDomain: string): void {
  const constrained = nameConstraintFault(signer.certificate, [leaf]);
  if (constrained !== undefined) {
    const message = `${leaf.subject || 'a certificate'} may not have all the names asked for`;
    throw new SidelockError('SL-NAME-004', message, { why: constrained.detail });
  }
  const purposes = (['client', 'server'] as const).filter((p) => leaf.eku?.includes(EKU[`${p}Auth`]));
  for (const purpose of purposes) {
    const unfit = leafFault(leaf, { now, purpose, trustDomain });
    if (unfit === undefined) continue;
    const message = `a certificate for ${leaf.subject || 'a service'} would be refused by its peers`;
    throw new SidelockError('SL-CERT-002', message, { why: unfit.detail, data: { reason: unfit.reason } });
  }
}
