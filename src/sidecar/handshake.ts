import { type ErrorCode, nodeCode } from '../base/errors.ts';
import type { PeerReason } from '../pki/peer.ts';
import { REFUSAL_REASONS, type RefusalReason } from '../pki/peer-reasons.ts';
import type { Direction } from './metrics.ts';

/**
 * Why a handshake failed, as seen from our side. A closed list: metric label and log field. `client_…` and `peer_…`
 * with a reason of `pki/peer` come from our own pass over the chain; the rest from what OpenSSL or the socket said.
 */
const OWN_REASONS = {
  peer_wrong_identity: page('SL-TLS-006', 'the peer is not who we expect there', 'correct expect or the address'),
  openssl_refused: page('SL-TLS-010', 'OpenSSL refused the chain', 'issue it again with sidelock'),
  port_probe: page('SL-TLS-001', 'connected and left without a byte', 'nothing to do: a port probe'),
  client_left: page(
    'SL-TLS-001',
    'ended the handshake: it does not accept our certificate, or gave up',
    'read its log',
  ),
  reset: page('SL-TLS-001', 'reset the connection', 'look at its log, and for a load balancer or policy in between'),
  plaintext_http: page('SL-TLS-002', 'spoke plain HTTP to the mTLS port', 'call the local port of its own sidecar'),
  plaintext_other: page(
    'SL-TLS-002',
    'sent something that is not TLS',
    'turn TLS negotiation off in the app (as sslmode=disable): the sidecar does TLS',
  ),
  peer_not_tls: page('SL-TLS-002', 'answered in plaintext', 'use the mTLS port of the peer, not that of its app'),
  version_mismatch: page('SL-TLS-009', 'has no TLS version in common with us', 'use TLS 1.3, or set tls.minVersion'),
  no_cipher: page('SL-TLS-009', 'has no cipher in common with us', 'use the default ciphers of TLS 1.3'),
  no_group: page('SL-TLS-009', 'has no key exchange group in common with us', 'enable X25519 or P-256 on it'),
  alpn_mismatch: page('SL-TLS-009', 'offers no application protocol that we serve', 'compare protocol on both sides'),
  handshake_timeout: page('SL-TLS-008', 'did not finish the handshake in time', 'check the network and its load'),
  closed_in_handshake: page('SL-TLS-001', 'closed during the handshake', 'check that the address is an mTLS port'),
  closed_after_handshake: page(
    'SL-TLS-007',
    'accepted TLS and hung up before a byte: it most likely refused our certificate',
    'look at its log for the serial in this line',
  ),
  peer_requires_certificate: page('SL-TLS-011', 'wants a client certificate', 'check the identity of this sidecar'),
  peer_rejects_our_ca: page('SL-TLS-011', 'does not trust our issuer', 'put our root into its bundle'),
  peer_says_expired: page('SL-TLS-011', 'says our certificate is out of date', 'compare clocks, look at our renewals'),
  peer_says_revoked: page('SL-TLS-011', 'says our certificate is revoked', 'issue a new one'),
  peer_says_bad: page('SL-TLS-011', 'says our certificate is of no use to it', 'read its log for the rule it breaks'),
  peer_handshake_failure: page('SL-TLS-009', 'found nothing in common with us', 'compare versions, ciphers, groups'),
  tls_error: page('SL-TLS-001', 'broke the TLS protocol', 'read the log of the other side'),
} as const;

interface Page {
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly fix: string;
}

type OwnReason = keyof typeof OWN_REASONS;
export type HandshakeReason = OwnReason | `client_${PeerReason}` | `peer_${PeerReason}`;

/** The sentence, fix and code of a reason. For reasons of the chain pass the verdict's own detail is the sentence. */
export function explain(reason: HandshakeReason, detail: string | undefined): Page {
  if (reason in OWN_REASONS) {
    const found = OWN_REASONS[reason as OwnReason];
    return detail === undefined ? found : { ...found, sentence: `${found.sentence}: ${detail}` };
  }
  const chain = reason.replace(/^(client|peer)_/, '') as PeerReason;
  const found = CHAIN_PAGES[chain] ?? RULE_PAGE;
  return detail === undefined ? found : { ...found, sentence: detail };
}

/** What to tell the peer of this failure; undefined when we did not refuse its certificate. */
export function refusalReason(reason: HandshakeReason): RefusalReason | undefined {
  const bare = reason.replace(/^(client|peer)_/, '');
  return REFUSAL_REASONS.find((known) => known === bare && known !== 'no_certificate');
}

/** What the failing side of a socket can tell. */
export interface HandshakeFacts {
  readonly direction: Direction;
  /** The error of the TLS socket; undefined when it merely closed. */
  readonly error: unknown;
  /** Bytes the raw socket received. */
  readonly bytesRead: number;
}

/** Names a failure by codes alone; texts of libraries are never compared. Both spellings of OpenSSL's alerts are known. */
export function classify({ direction, error, bytesRead }: HandshakeFacts): HandshakeReason {
  const code = nodeCode(error);
  const known = code === undefined ? undefined : BY_CODE[code.replace(ALERT, 'ALERT')];
  if (known !== undefined) {
    return direction === 'outbound' && known.startsWith('plaintext') ? 'peer_not_tls' : known;
  }
  if (code?.startsWith('ERR_SSL_') === true) return 'tls_error';
  if (direction === 'inbound') {
    if (bytesRead === 0) return 'port_probe';
    return nodeCode(error) === 'ECONNRESET' && isSystemReset(error) ? 'reset' : 'client_left';
  }
  return isSystemReset(error) ? 'reset' : 'closed_in_handshake';
}

/** OpenSSL 3.0 and 3.5 name the same alert differently: SSLV3_ALERT, TLSV1_ALERT, TLSV13_ALERT, SSL/TLS_ALERT. */
const ALERT = /(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_ALERT/;

const BY_CODE: Readonly<Record<string, OwnReason | 'client_no_certificate'>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'client_no_certificate',
  ERR_SSL_HTTP_REQUEST: 'plaintext_http',
  ERR_SSL_HTTPS_PROXY_REQUEST: 'plaintext_http',
  ERR_SSL_WRONG_VERSION_NUMBER: 'plaintext_other',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'plaintext_other',
  ERR_SSL_RECORD_LAYER_FAILURE: 'plaintext_other',
  ERR_SSL_BAD_RECORD_TYPE: 'plaintext_other',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'version_mismatch',
  ERR_SSL_ALERT_PROTOCOL_VERSION: 'version_mismatch',
  ERR_SSL_NO_SHARED_CIPHER: 'no_cipher',
  ERR_SSL_NO_SUITABLE_KEY_SHARE: 'no_group',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'alpn_mismatch',
  ERR_SSL_ALERT_NO_APPLICATION_PROTOCOL: 'alpn_mismatch',
  ERR_SSL_ALERT_HANDSHAKE_FAILURE: 'peer_handshake_failure',
  ERR_SSL_ALERT_CERTIFICATE_REQUIRED: 'peer_requires_certificate',
  ERR_SSL_ALERT_UNKNOWN_CA: 'peer_rejects_our_ca',
  ERR_SSL_ALERT_CERTIFICATE_EXPIRED: 'peer_says_expired',
  ERR_SSL_ALERT_CERTIFICATE_REVOKED: 'peer_says_revoked',
  ERR_SSL_ALERT_CERTIFICATE_UNKNOWN: 'peer_says_bad',
  ERR_SSL_ALERT_UNSUPPORTED_CERTIFICATE: 'peer_says_bad',
  ERR_SSL_ALERT_BAD_CERTIFICATE: 'peer_says_bad',
  ERR_SSL_ALERT_ACCESS_DENIED: 'peer_says_bad',
};

const RULE_PAGE: Page = {
  code: 'SL-TLS-010',
  sentence: 'its certificate breaks a rule',
  fix: 'issue it again with sidelock, or with a CA that follows the X509-SVID rules',
};

const OUT_OF_DATE = {
  code: 'SL-TLS-004',
  sentence: 'its certificate is out of date',
  fix: "compare both clocks; look at that sidecar's renewals",
} as const;
const UNKNOWN_CA = {
  code: 'SL-TLS-003',
  sentence: 'its issuer is not in our bundle',
  fix: 'compare the key ids of both bundles (/identity)',
} as const;

const CHAIN_PAGES: Partial<Record<PeerReason, Page>> = {
  no_certificate: {
    code: 'SL-TLS-005',
    sentence: 'showed no certificate',
    fix: 'call through the local port of a sidecar',
  },
  expired: OUT_OF_DATE,
  not_yet_valid: OUT_OF_DATE,
  issuer_expired: OUT_OF_DATE,
  revoked: {
    code: 'SL-TLS-012',
    sentence: 'its certificate is revoked',
    fix: 'give the service a new identity if it is still wanted: sidelock token create SERVICE',
  },
  crl_stale: {
    code: 'SL-TLS-013',
    sentence: 'whether it is revoked is not known',
    fix: 'look why there is no newer revocation list (crl_failed in our log), or set revocation.onStaleCrl: warn',
  },
  unknown_ca: UNKNOWN_CA,
  self_signed: UNKNOWN_CA,
  chain_incomplete: {
    code: 'SL-TLS-003',
    sentence: 'its intermediates are missing',
    fix: 'its cert.pem must hold the leaf, then the intermediates',
  },
};

function page(code: ErrorCode, sentence: string, fix: string): Page {
  return { code, sentence, fix };
}

/** A reset from the network has an errno; Node's own "closed before established" has not. */
function isSystemReset(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && nodeCode(error) === 'ECONNRESET';
}
