import { type ErrorCode, nodeCode } from '../base/errors.ts';
import type { PeerReason } from '../pki/peer.ts';
import { type DialReason, dialReason } from './dial.ts';
import { classify, explain, type HandshakeReason } from './handshake.ts';

/** An error of a connection in words. */
export interface TlsExplanation {
  /** Of a closed list: the one of `sidelock_handshakes_total`, or why a connect failed. */
  readonly reason: HandshakeReason | DialReason;
  /** `sidelock explain CODE` has its page. */
  readonly code: ErrorCode;
  /** About the other side. */
  readonly sentence: string;
  readonly fix: string;
}

/**
 * What an error of `tls`, `https`, `fetch` or undici means, and what to do, from the table that sidecars log from.
 * `side` is what we were. Goes by codes, of the error and of its causes; undefined when none is about connecting or TLS.
 */
export function explainTlsError(error: unknown, side: 'client' | 'server' = 'client'): TlsExplanation | undefined {
  for (const one of causes(error)) {
    const code = nodeCode(one);
    const found = code === undefined ? undefined : explainCode(code, one, side);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** As `explainTlsError`, of a connect that failed. */
export function explainDial(reason: DialReason): TlsExplanation {
  return { reason, code: 'SL-UP-001', ...DIAL[reason] };
}

function explainCode(code: string, error: unknown, side: 'client' | 'server'): TlsExplanation | undefined {
  const dial = dialReason(code);
  if (dial !== undefined) return explainDial(dial);
  const chain = VERDICTS[code];
  const prefix = side === 'client' ? 'peer' : 'client';
  const direction = side === 'client' ? 'outbound' : 'inbound';
  const known = code === 'ECONNRESET' || code.startsWith('ERR_SSL_');
  if (chain === undefined && OWN[code] === undefined && !known) return undefined;
  const reason: HandshakeReason =
    chain === undefined ? (OWN[code] ?? classify({ direction, error, bytesRead: 1 })) : `${prefix}_${chain}`;
  return { reason, ...explain(reason, undefined) };
}

/** The error, what caused it, and so on; of several tries each. */
function* causes(error: unknown, depth = 0): Generator<unknown> {
  if (!(error instanceof Error) || depth > 8) return;
  yield error;
  yield* causes(error.cause, depth + 1);
  if (error instanceof AggregateError) for (const one of error.errors) yield* causes(one, depth + 1);
}

/** OpenSSL's verdicts on a chain, as Node names them, and the one of Node about names. */
const VERDICTS: Readonly<Record<string, PeerReason>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not_yet_valid',
  CERT_REVOKED: 'revoked',
  CERT_SIGNATURE_FAILURE: 'bad_signature',
  CERT_CHAIN_TOO_LONG: 'chain_too_long',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self_signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown_ca',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown_ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown_ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'chain_incomplete',
  INVALID_CA: 'issuer_not_ca',
  INVALID_PURPOSE: 'wrong_eku',
  PATH_LENGTH_EXCEEDED: 'path_length',
};

const OWN: Readonly<Record<string, HandshakeReason>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'peer_wrong_identity',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'handshake_timeout',
};

const DIAL: Readonly<Record<DialReason, Pick<TlsExplanation, 'sentence' | 'fix'>>> = {
  refused: { sentence: 'nothing listens there', fix: 'start it, or correct the address' },
  dns: { sentence: 'the name does not resolve', fix: 'correct the name, or look at the resolver of this machine' },
  unreachable: { sentence: 'there is no route to it', fix: 'correct the address, or look at the network' },
  timeout: {
    sentence: 'no answer: packets are lost on the way, as a firewall or a network policy does',
    fix: 'look at firewalls and policies in between, and whether the machine is up',
  },
  error: { sentence: 'the connection cannot be made', fix: 'look at the code of the system' },
};
