import type { KeyObject } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';
import type { TrustBundle } from './bundle.ts';
import { parseBundle } from './bundle.ts';
import type { Certificate } from './certificate.ts';
import { certificatesFromPem } from './certificate.ts';
import { privateKeyFromPem, privateKeyToPem, spkiSha256 } from './keys.ts';
import type { SpiffeId } from './names.ts';
import { ownCredentialFault } from './own-rules.ts';
import type { AcceptedPeer, PeerReason } from './peer.ts';
import { verifyPeer } from './peer.ts';
import { certificatesToPem, pemBlocks, pemEncode } from './pem.ts';
import { span, utc } from './text.ts';

/** Our own credential: everything that TLS needs, read and judged as one. */
export interface IdentityMaterial {
  readonly leaf: Certificate;
  /** The intermediates of `certPem`, in the order of the file. */
  readonly chain: readonly Certificate[];
  /** Leaf, then intermediates; no root, no text between blocks. */
  readonly certPem: string;
  /** PKCS#8, decrypted. */
  readonly keyPem: string;
  readonly key: KeyObject;
  readonly bundle: TrustBundle;
  /** The one of `bundle` that vouches for the leaf. */
  readonly root: Certificate;
  readonly spiffeId: SpiffeId;
}

interface IdentityText {
  readonly cert: Buffer | string;
  readonly key: Buffer | string;
  readonly ca: Buffer | string;
}

interface FileNames {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

interface IdentityContext {
  /** ms since the epoch */
  readonly now: number;
  /** How messages name the three. */
  readonly files?: FileNames;
  readonly passphrase?: string;
  /** The SPIFFE id that the certificate must have. */
  readonly expectedId?: string;
  /** Take an expired leaf too: good enough to ask for the next one, not to serve with. */
  readonly allowExpired?: boolean;
}

const FILES: FileNames = { cert: 'cert.pem', key: 'key.pem', ca: 'ca.pem' };

/**
 * Reads certificate chain, key and trust bundle and checks them as a peer will, so that a set which breaks
 * handshakes is refused when loaded and the old one can serve on.
 * @throws SL-PEM-*, SL-PAIR-001, SL-CLOCK-001, SL-CERT-001 to -004, SL-BUNDLE-*, SL-KEY-001
 */
export function readIdentity({ cert, key, ca }: IdentityText, context: IdentityContext): IdentityMaterial {
  const { now, files = FILES, passphrase } = context;
  refuseSwapped(cert, key, files);
  const [leaf, ...rest] = certificatesFromPem(cert, files.cert);
  if (leaf === undefined) throw new SidelockError('SL-PEM-001', `${files.cert} holds no certificate`);
  const privateKey = privateKeyFromPem(key, files.key, passphrase);
  const bundle = parseBundle(ca, files.ca, now);
  refuseMismatch(leaf, rest, privateKey, files);
  refuseWrongTime(leaf, context);
  const { spiffeId, root } = refuseUnfit(leaf, rest, bundle, context);
  refuseWrongId(spiffeId, context);
  const chain = intermediates(leaf, rest);
  return Object.freeze({
    leaf,
    chain: Object.freeze(chain),
    certPem: certificatesToPem([leaf, ...chain]),
    keyPem: privateKeyToPem(privateKey),
    key: privateKey,
    bundle,
    root,
    spiffeId,
  });
}

/**
 * As `readIdentity`, for one file that holds key and chain in any order (kubelet's pod certificates, HAProxy's
 * `.pem`), with the roots beside it.
 */
export function identityFromBundleFile(
  { bundle, ca }: { readonly bundle: Buffer | string; readonly ca: Buffer | string },
  context: IdentityContext,
): IdentityMaterial {
  const file = context.files?.cert ?? 'the bundle file';
  const blocks = pemBlocks(bundle, file);
  const pem = (wanted: (label: string) => boolean) =>
    blocks
      .filter(({ label }) => wanted(label))
      .map(({ label, der }) => pemEncode(label, der))
      .join('');
  const key = pem((label) => label.endsWith('PRIVATE KEY'));
  const cert = pem((label) => label === 'CERTIFICATE');
  if (key === '' || cert === '') {
    throw new SidelockError('SL-PEM-002', `${file} is no bundle of key and certificates`, {
      why: `it holds ${blocks.map(({ label }) => label).join(', ')}: a ${key === '' ? 'PRIVATE KEY' : 'CERTIFICATE'} is missing`,
      fix: 'put the private key, the certificate and its intermediates into one file',
      data: { file },
    });
  }
  return readIdentity({ cert, key, ca }, { files: { cert: file, key: file, ca: 'ca.pem' }, ...context });
}

/** Each file holds the other's block: told as one mistake. */
function refuseSwapped(cert: Buffer | string, key: Buffer | string, files: FileNames): void {
  const [certLabel, keyLabel] = [firstLabel(cert), firstLabel(key)];
  if (certLabel?.endsWith('PRIVATE KEY') !== true || keyLabel !== 'CERTIFICATE') return;
  throw new SidelockError('SL-PEM-002', `cannot read the certificate ${files.cert}`, {
    why: `it holds a ${certLabel} block, not a CERTIFICATE, and ${files.key} holds a CERTIFICATE: they look swapped`,
    fix: `exchange ${files.cert} and ${files.key}`,
    data: { files },
  });
}

function firstLabel(text: Buffer | string): string | undefined {
  return /-----BEGIN ([A-Z ]{1,40})-----/.exec(text.toString())?.[1];
}

function refuseMismatch(leaf: Certificate, rest: readonly Certificate[], key: KeyObject, files: FileNames): void {
  const keyHash = spkiSha256(key);
  if (keyHash === leaf.spkiSha256) return;
  const owner = rest.findIndex(({ spkiSha256: hash }) => hash === keyHash);
  throw new SidelockError('SL-PAIR-001', `${files.key} does not belong to ${files.cert}`, {
    why: `certificate public key sha256 ${leaf.spkiSha256} (serial ${leaf.serial}), key file's ${keyHash}`,
    ...(owner < 0 ? {} : { fix: `put certificate ${owner + 2} of ${files.cert} first: the key belongs to it` }),
    data: { certificate: leaf.spkiSha256, key: keyHash, serial: leaf.serial, files },
  });
}

function refuseWrongTime(leaf: Certificate, { now, files = FILES, allowExpired = false }: IdentityContext): void {
  const { notBefore, notAfter, serial } = leaf;
  const data = { notBefore, notAfter, now, serial, file: files.cert };
  if (notBefore > notAfter) return;
  if (now > notAfter && !allowExpired) {
    throw new SidelockError(
      'SL-CERT-001',
      `certificate of ${ownerOf(leaf)} expired ${span(now - notAfter)} ago (${utc(notAfter)}, here it is ${utc(now)})`,
      { why: `${files.cert} (serial ${serial}) was not renewed in time`, data },
    );
  }
  if (now < notBefore) {
    throw new SidelockError(
      'SL-CLOCK-001',
      `certificate of ${ownerOf(leaf)} is not yet valid: valid from ${utc(notBefore)}, our clock says ${utc(now)}`,
      {
        why: `this machine is ${span(notBefore - now)} behind, or the issuer's clock ahead (${files.cert}, serial ${serial})`,
        data,
      },
    );
  }
}

/** Faults of the way to the root rather than of the certificate. */
const CHAIN_REASONS = new Set<PeerReason>([
  'self_signed',
  'unknown_ca',
  'chain_incomplete',
  'chain_too_long',
  'bad_signature',
  'issuer_not_ca',
  'issuer_expired',
  'path_length',
  'issuer_wrong_eku',
]);

/** Judges as both kinds of peers will, at a moment when the leaf is in date (whether it is was asked before). */
function refuseUnfit(
  leaf: Certificate,
  rest: readonly Certificate[],
  bundle: TrustBundle,
  { now, files = FILES, allowExpired = false }: IdentityContext,
): AcceptedPeer {
  const at = allowExpired ? Math.min(now, leaf.notAfter) : now;
  const chain = [leaf, ...rest].map(({ der }) => der);
  const trustDomain = leaf.spiffeId?.trustDomain ?? '';
  const verdicts = (['client', 'server'] as const).map((purpose) =>
    verifyPeer({ chain, bundle, now: at, purpose, trustDomain }),
  );
  const refused = verdicts.find((verdict) => !verdict.ok);
  const [accepted] = verdicts;
  if (refused !== undefined && !refused.ok) {
    const { reason, detail } = refused;
    const data = { reason, serial: leaf.serial, file: files.cert };
    throw CHAIN_REASONS.has(reason)
      ? new SidelockError('SL-CERT-003', `${files.cert} does not chain to ${files.ca}`, { why: detail, data })
      : new SidelockError('SL-CERT-002', `${files.cert} cannot be served: peers would refuse it`, {
          why: detail,
          data,
        });
  }
  const strict = ownCredentialFault(leaf, intermediates(leaf, rest));
  if (strict !== undefined || accepted?.ok !== true) {
    throw new SidelockError('SL-CERT-002', `${files.cert} cannot be served`, {
      why: strict,
      data: { serial: leaf.serial },
    });
  }
  return accepted;
}

function refuseWrongId({ uri }: SpiffeId, { expectedId, files = FILES }: IdentityContext): void {
  if (expectedId === undefined || uri === expectedId) return;
  throw new SidelockError('SL-CERT-004', `${files.cert} is the certificate of another service`, {
    why: `it is for ${uri}, this service is ${expectedId}`,
    data: { found: uri, expected: expectedId, file: files.cert },
  });
}

/** What is sent after the leaf: once each, no root (a peer has its own, or none that counts). */
function intermediates(leaf: Certificate, rest: readonly Certificate[]): Certificate[] {
  const sent = new Set([leaf.fingerprint256]);
  return rest.filter(({ fingerprint256, subjectDer, issuerDer }) => {
    const isNew = !sent.has(fingerprint256);
    sent.add(fingerprint256);
    return isNew && !subjectDer.equals(issuerDer);
  });
}

function ownerOf({ spiffeId, subject, serial }: Certificate): string {
  return spiffeId?.segments.at(-1) ?? (subject || `serial ${serial}`);
}
