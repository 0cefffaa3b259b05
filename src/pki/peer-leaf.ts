import { SidelockError } from '../base/errors.ts';
import type { Certificate } from './certificate.ts';
import { EXTENSION } from './certificate.ts';
import type { SpiffeId } from './names.ts';
import { parseSan, parseSpiffeId } from './names.ts';
import type { Fault, PeerPurpose } from './peer-reasons.ts';
import { fault } from './peer-reasons.ts';
import { formFault, neededEku } from './rules.ts';
import type { GeneralName } from './san.ts';
import { escapeBytes } from './san.ts';
import { span, utc } from './text.ts';

const DAY = 86_400_000;
/** The CA/Browser Forum's old limit: beyond it a "no end" date (9999) hides. */
const MAX_LIFETIME = 398 * DAY;
const MAX_NAMES = 64;

interface LeafRules {
  /** ms since the epoch */
  readonly now: number;
  readonly purpose: PeerPurpose;
  readonly trustDomain: string;
}

/** The first rule for a leaf that `leaf` breaks (X.509-SVID 2-5 and stricter), or undefined. */
export function leafFault(leaf: Certificate, rules: LeafRules): Fault | undefined {
  return (
    formFault(leaf, `the certificate (serial ${leaf.serial})`) ??
    dateFault(leaf, rules.now) ??
    issuerFault(leaf) ??
    sanFault(leaf, rules.trustDomain) ??
    usageFault(leaf, rules.purpose)
  );
}

function dateFault({ notBefore, notAfter, serial }: Certificate, now: number): Fault | undefined {
  if (notBefore > notAfter) {
    return fault(
      'validity_inverted',
      `certificate ${serial} ends ${utc(notAfter)}, before it begins ${utc(notBefore)}`,
    );
  }
  if (now < notBefore) {
    return fault(
      'not_yet_valid',
      `certificate ${serial} is valid from ${utc(notBefore)}, our clock says ${utc(now)} (${span(notBefore - now)} earlier)`,
    );
  }
  if (now > notAfter) {
    return fault(
      'expired',
      `certificate ${serial} expired ${span(now - notAfter)} ago (${utc(notAfter)}, here it is ${utc(now)})`,
    );
  }
  if (notAfter - notBefore <= MAX_LIFETIME) return undefined;
  return fault(
    'lifetime_too_long',
    `certificate ${serial} lives ${span(notAfter - notBefore)}; 398 days are the limit`,
  );
}

function issuerFault({ isCa, extensions }: Certificate): Fault | undefined {
  if (isCa === true) return fault('ca_as_leaf', 'the certificate says CA:TRUE, so it is an issuer and no service');
  if (extensions.some(({ oid }) => oid === EXTENSION.nameConstraints)) {
    return fault('name_constraints', 'the certificate constrains names, which only an issuer may');
  }
  return undefined;
}

function usageFault({ keyUsage, eku }: Certificate, purpose: PeerPurpose): Fault | undefined {
  if (keyUsage === undefined) return fault('no_key_usage', 'the certificate has no key usage');
  const usages = [...keyUsage].join(', ') || 'empty';
  if (keyUsage.has('keyCertSign') || keyUsage.has('cRLSign')) {
    return fault('cert_sign_leaf', `the key usage of the certificate (${usages}) is that of an issuer`);
  }
  if (!keyUsage.has('digitalSignature')) {
    return fault('wrong_key_usage', `the key usage of the certificate is ${usages}, without digitalSignature`);
  }
  if (eku === undefined) return fault('no_eku', 'the certificate has no extended key usage');
  const needed = neededEku(purpose);
  if (eku.includes(needed.oid)) return undefined;
  return fault(
    'wrong_eku',
    `the extended key usage of the certificate (${eku.join(', ')}) lacks ${needed.name} (${needed.oid})`,
  );
}

function sanFault({ sans, subject }: Certificate, trustDomain: string): Fault | undefined {
  if (sans === undefined || sans.length === 0) {
    return fault(
      'no_san',
      `the certificate (${subject || 'no subject'}) has no subject alternative name, so it says no identity`,
    );
  }
  if (sans.length > MAX_NAMES)
    return fault('too_many_names', `the certificate has ${sans.length} names; ${MAX_NAMES} are the limit`);
  const uris = sans.filter(({ type }) => type === 'uri');
  const [uri] = uris;
  if (uri === undefined) return fault('no_uri_san', `the certificate names ${list(sans)} but has no SPIFFE id`);
  if (uris.length > 1)
    return fault('many_uri_sans', `the certificate has ${uris.length} URIs (${list(uris)}); one is allowed`);
  return spiffeFault(uri, trustDomain) ?? sans.map(nameFault).find((found) => found !== undefined);
}

function spiffeFault({ raw, value }: GeneralName, trustDomain: string): Fault | undefined {
  let id: SpiffeId;
  try {
    id = parseSpiffeId(raw.toString('latin1'));
  } catch (error) {
    return fault('bad_spiffe_id', `${clip(value)} is no SPIFFE id: ${reasonOf(error)}`);
  }
  if (id.path === '') return fault('bad_spiffe_id', `${clip(value)} names a trust domain and no workload in it`);
  if (id.trustDomain === trustDomain) return undefined;
  return fault(
    'other_trust_domain',
    `${clip(value)} belongs to trust domain ${id.trustDomain}, ours is ${trustDomain}`,
  );
}

/** Names in the mesh are exact: lower case, no wildcard, no trailing dot, no address dressed as a name. */
function nameFault({ type, value, raw }: GeneralName): Fault | undefined {
  if (type === 'dns' && raw.includes('*')) return fault('wildcard_name', `the DNS name ${clip(value)} has a wildcard`);
  const why = type === 'dns' ? dnsFault(raw.toString('latin1')) : undefined;
  if (why !== undefined) return fault('bad_name', `the DNS name ${clip(value)} is not exact: ${why}`);
  if (type === 'ip' && raw.length !== 4 && raw.length !== 16) {
    return fault('bad_name', `the IP address ${clip(value)} has ${raw.length} octets`);
  }
  if (type === 'email' && /[^\x21-\x7e]/.test(raw.toString('latin1'))) {
    return fault('bad_name', `the mail address ${clip(value)} holds bytes that no address has`);
  }
  return undefined;
}

function dnsFault(name: string): string | undefined {
  try {
    return parseSan(name).type === 'dns' ? undefined : 'it is an IP address';
  } catch (error) {
    return reasonOf(error);
  }
}

/** Of an error of names.ts. */
function reasonOf(error: unknown): string {
  const why = error instanceof SidelockError ? (error.why ?? error.message) : 'it does not parse';
  return escapeBytes(Buffer.from(why));
}

function list(names: readonly GeneralName[]): string {
  const shown = names.slice(0, 3).map(({ type, value }) => `${type}:${clip(value)}`);
  return names.length > 3 ? `${shown.join(', ')} and ${names.length - 3} more` : shown.join(', ');
}

/** A stranger decides how long its names are; a log line has bounds. */
function clip(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}
