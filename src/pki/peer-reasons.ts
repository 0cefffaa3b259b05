/** Why a peer's chain is refused: a closed list, used as metric label and log field. */
export const PEER_REASONS = [
  'no_certificate',
  'malformed',
  'too_large',
  'bad_version',
  'bad_serial',
  'duplicate_extension',
  'unknown_critical_extension',
  'expired',
  'not_yet_valid',
  'validity_inverted',
  'lifetime_too_long',
  'wrong_eku',
  'no_eku',
  'no_key_usage',
  'wrong_key_usage',
  'cert_sign_leaf',
  'ca_as_leaf',
  'no_san',
  'many_uri_sans',
  'no_uri_san',
  'bad_spiffe_id',
  'other_trust_domain',
  'bad_name',
  'wildcard_name',
  'too_many_names',
  'weak_key',
  'weak_signature',
  'bad_signature',
  'self_signed',
  'unknown_ca',
  'chain_incomplete',
  'chain_too_long',
  'issuer_not_ca',
  'issuer_expired',
  'path_length',
  'name_constraints',
  'issuer_wrong_eku',
  'revoked',
  'crl_stale',
] as const;

export type PeerReason = (typeof PEER_REASONS)[number];

/**
 * Why the holder of a certificate was turned away: for its chain, or for who it is. A closed list, as it travels from
 * one sidecar to another by way of the manager.
 */
export const REFUSAL_REASONS = [...PEER_REASONS, 'openssl_refused', 'wrong_identity', 'not_allowed'] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];
export type PeerPurpose = 'client' | 'server';

/** A broken rule: its label and one sentence with the values found. */
export interface Fault {
  readonly reason: PeerReason;
  readonly detail: string;
}

/** A stranger decides how long its names are; a log line has bounds. */
const MAX_DETAIL = 400;

export function fault(reason: PeerReason, detail: string): Fault {
  return { reason, detail: detail.length <= MAX_DETAIL ? detail : `${detail.slice(0, MAX_DETAIL - 3)}...` };
}
