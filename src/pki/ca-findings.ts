/** What can be wrong with a CA that is to be taken over: the closed list, by code. */
export const CA_FINDINGS = {
  key_mismatch: {
    level: 'error',
    fix: 'give the key that belongs to the certificate: openssl pkey -in KEY -pubout, openssl x509 -in CERT -noout -pubkey must print the same',
  },
  not_a_ca: {
    level: 'error',
    fix: 'give the certificate of the CA itself, with basicConstraints CA:TRUE and keyCertSign, not one that it issued',
  },
  version_1: { level: 'error', fix: 'make the certificate anew as X.509 v3; its key can stay' },
  cannot_sign_crls: { level: 'error', fix: 'make the certificate anew with the key usage cRLSign beside keyCertSign' },
  not_critical: {
    level: 'error',
    fix: 'make the certificate anew with basicConstraints critical and a keyUsage (RFC 5280 4.2.1.9)',
  },
  missing_key_id: {
    level: 'error',
    fix: 'make the certificate anew, with the same key, with subjectKeyIdentifier=hash and authorityKeyIdentifier=keyid',
  },
  path_length: {
    level: 'error',
    fix: 'have it issued with a larger pathlen, or set ca.issuer to false so that it signs certificates of services itself',
  },
  expired: { level: 'error', fix: 'renew the certificate of the CA, or check the clock of this machine' },
  not_yet_valid: { level: 'error', fix: 'check the clock of this machine, or wait' },
  too_short: {
    level: 'error',
    fix: 'renew the certificate of the CA first, or make those of services shorter: certificates.validity',
  },
  short_lived: { level: 'warning', fix: 'plan the next one: sidelock trust stage, or another import, before it ends' },
  weak_key: { level: 'error', fix: 'make a new CA with RSA 2048, 3072 or 4096 (e = 65537), P-256, P-384 or Ed25519' },
  weak_signature: { level: 'error', fix: 'have it signed again with SHA-256 or better; its key can stay' },
  name_constraints: {
    level: 'error',
    fix: 'have it issued with constraints that permit the names of services, or set trustDomain to the one it permits',
  },
  wrong_usage: {
    level: 'error',
    fix: 'have it issued without extended key usage, or with serverAuth and clientAuth',
  },
  unknown_extension: { level: 'error', fix: 'have it issued without that critical extension' },
  chain_incomplete: {
    level: 'error',
    fix: 'give by --chain every certificate from its issuer up to the self-signed root',
  },
  chain_broken: {
    level: 'error',
    fix: 'give the issuers that really signed: two CAs of one name are easily taken for each other',
  },
  wrong_order: { level: 'warning', fix: 'nothing to do: they are stored in the right order' },
  unrelated_certificate: { level: 'warning', fix: 'nothing to do: it is left out' },
  no_room_for_devices: {
    level: 'warning',
    fix: 'have it issued without pathlen when devices are to get certificates too',
  },
  known_already: { level: 'error', fix: 'nothing to do: sidelock trust status shows it' },
  same_name: {
    level: 'error',
    fix: 'give the new root another subject, as a generation in its CN: OpenSSL takes two of one name for each other',
  },
  refused_by_peers: { level: 'error', fix: 'the sentence says which rule of peers it breaks' },
} as const satisfies Readonly<Record<string, { readonly level: 'error' | 'warning'; readonly fix: string }>>;

export type CaFindingCode = keyof typeof CA_FINDINGS;

export interface CaFinding {
  readonly code: CaFindingCode;
  /** An error means it is not taken. */
  readonly level: 'error' | 'warning';
  /** One sentence with the values found. */
  readonly what: string;
  readonly fix: string;
}

export function caFinding(code: CaFindingCode, what: string): CaFinding {
  return { code, what, ...CA_FINDINGS[code] };
}
