import type { Certificate } from './certificate.ts';
import { EKU, EXTENSION } from './certificate.ts';
import type { Fault, PeerPurpose } from './peer-reasons.ts';
import { fault } from './peer-reasons.ts';

/** SHA-2 only; Ed25519 brings its own hash. */
const SIGNATURES = new Set([
  'sha256WithRSAEncryption',
  'sha384WithRSAEncryption',
  'sha512WithRSAEncryption',
  'rsassaPss-SHA256',
  'rsassaPss-SHA384',
  'rsassaPss-SHA512',
  'ecdsa-with-SHA256',
  'ecdsa-with-SHA384',
  'ecdsa-with-SHA512',
  'Ed25519',
]);

/** Extensions that are acted upon, or that change nothing here (certificatePolicies), and so may be critical. */
const UNDERSTOOD = new Set<string>([...Object.values(EXTENSION), '2.5.29.32']);

const MAX_SERIAL_OCTETS = 20;

/** Rules of form that every certificate of a chain obeys, roots excepted. `who` names it in the sentence. */
export function formFault(certificate: Certificate, who: string): Fault | undefined {
  const { version, extensions } = certificate;
  if (version !== 3)
    return fault('bad_version', `${who} is an X.509 v${version} certificate; only v3 can say who it is`);
  const serial = serialFault(certificate, who);
  if (serial !== undefined) return serial;
  const oids = extensions.map(({ oid }) => oid);
  const twice = oids.find((oid, i) => oids.indexOf(oid) !== i);
  if (twice !== undefined) return fault('duplicate_extension', `${who} has extension ${twice} more than once`);
  return criticalFault(certificate, who) ?? keyFault(certificate, who);
}

/** A critical extension that nothing here acts upon (RFC 5280 4.2). */
export function criticalFault({ extensions }: Certificate, who: string): Fault | undefined {
  const unknown = extensions.find(({ oid, critical }) => critical && !UNDERSTOOD.has(oid));
  if (unknown === undefined) return undefined;
  return fault(
    'unknown_critical_extension',
    `${who} has the critical extension ${unknown.oid}, which is not understood`,
  );
}

/** Keys are those of keys.ts: RSA 2048, 3072, 4096 with e=65537, P-256, P-384, Ed25519. */
export function keyFault({ keyType, keyDescription }: Certificate, who: string): Fault | undefined {
  if (keyType !== undefined) return undefined;
  return fault(
    'weak_key',
    `the key of ${who} is ${keyDescription}; RSA 2048-4096, P-256, P-384 and Ed25519 are accepted`,
  );
}

export function signatureFault({ signatureAlgorithm }: Certificate, who: string): Fault | undefined {
  if (SIGNATURES.has(signatureAlgorithm)) return undefined;
  return fault('weak_signature', `${who} is signed with ${signatureAlgorithm}; SHA-256 or better is needed`);
}

/** CA:TRUE, and a key usage that, where present, allows signing certificates (RFC 5280 6.1.4 k, n). */
export function caFault({ isCa, keyUsage }: Certificate, who: string): Fault | undefined {
  if (isCa === undefined) return fault('issuer_not_ca', `${who} has no basicConstraints, so it may not issue`);
  if (!isCa) return fault('issuer_not_ca', `${who} says CA:FALSE, so it may not issue`);
  if (keyUsage === undefined || keyUsage.has('keyCertSign')) return undefined;
  return fault(
    'issuer_not_ca',
    `the key usage of ${who} is ${[...keyUsage].join(', ') || 'empty'}, without keyCertSign`,
  );
}

/** The extended key usage that a peer needs: it is our client, or our server. */
export function neededEku(purpose: PeerPurpose): { readonly oid: string; readonly name: string } {
  return purpose === 'client'
    ? { oid: EKU.clientAuth, name: 'clientAuth' }
    : { oid: EKU.serverAuth, name: 'serverAuth' };
}

function serialFault({ serial }: Certificate, who: string): Fault | undefined {
  if (serial.startsWith('-') || /^0+$/.test(serial))
    return fault('bad_serial', `${who} has the serial number ${serial}`);
  // A set top bit costs one more octet in DER.
  const octets = serial.length / 2 + (Number.parseInt(serial.slice(0, 1), 16) >= 8 ? 1 : 0);
  if (octets <= MAX_SERIAL_OCTETS) return undefined;
  return fault('bad_serial', `${who} has a serial number of ${octets} octets; ${MAX_SERIAL_OCTETS} are the limit`);
}
