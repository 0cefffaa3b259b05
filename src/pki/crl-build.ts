import {
  type Element,
  enumerated,
  integer,
  octetString,
  oid,
  parsed,
  sequence,
  tagged,
  time,
  toDer,
} from './assemble.ts';
import { CRL_EXTENSION, type Crl, REVOCATION_REASONS, type RevokedEntry, readCrl, verifyCrl } from './crl.ts';
import { authorityKeyIdentifier } from './extensions.ts';
import { keyIdOfSigner, type Signer } from './issue.ts';
import { pemEncode } from './pem.ts';
import { algorithmIdentifier, signedAsync } from './signing.ts';

interface CrlOptions {
  readonly signer: Signer;
  /** Higher than that of every list before. */
  readonly number: number;
  /** ms since the epoch. */
  readonly now: number;
  readonly nextUpdate: number;
  /** By serial, in hex. */
  readonly entries: ReadonlyMap<string, RevokedEntry>;
}

/** A full X.509 v2 CRL of `signer` (RFC 5280 5), read back as its users will. @throws SL-CRL-001 */
export async function createCrl({ signer, number, now, nextUpdate, entries }: CrlOptions): Promise<Crl> {
  const keyId = keyIdOfSigner(signer);
  const list = sequence(
    integer(1),
    algorithmIdentifier(signer.key),
    parsed(signer.certificate.subjectDer),
    time(now),
    time(nextUpdate),
    // RFC 5280 5.1.2.6: absent when nothing is revoked.
    ...(entries.size === 0 ? [] : [sequence(...[...entries].map(entryElement))]),
    tagged(
      0,
      sequence(authorityKeyIdentifier(keyId), extension(CRL_EXTENSION.crlNumber, integer(...octetsOf(number)))),
    ),
  );
  const crl = readCrl(pemEncode('X509 CRL', await signedAsync(list, signer.key)), 'made by this CA');
  verifyCrl(crl, { file: 'made by this CA', issuers: [signer.certificate], now });
  return crl;
}

function entryElement([serial, { reason, at }]: readonly [string, RevokedEntry]): Element {
  const code = REVOCATION_REASONS[reason];
  // RFC 5280 5.3.1: unspecified is said by saying nothing.
  const extensions = code === 0 ? [] : [sequence(extension(CRL_EXTENSION.reasonCode, enumerated(code)))];
  return sequence(integer(...positive(Buffer.from(serial, 'hex'))), time(at), ...extensions);
}

function extension(dotted: string, value: Element): Element {
  return sequence(oid(dotted), octetString(toDer(value)));
}

function octetsOf(number: number): Buffer {
  const hex = number.toString(16);
  return positive(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
}

function positive(octets: Buffer): Buffer {
  return (octets[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), octets]) : octets;
}
