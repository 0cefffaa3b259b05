import { SidelockError } from '../base/errors.ts';
import type { TrustBundle } from './bundle.ts';
import type { Certificate } from './certificate.ts';
import { parseCertificate } from './certificate.ts';
import { buildChain } from './chain.ts';
import { type CrlSet, revocationIn } from './crl-set.ts';
import type { SpiffeId } from './names.ts';
import { leafFault } from './peer-leaf.ts';
import type { Fault, PeerPurpose, PeerReason } from './peer-reasons.ts';
import { fault } from './peer-reasons.ts';
import { utc } from './text.ts';

export type { PeerPurpose, PeerReason } from './peer-reasons.ts';

/** What TLS limits too late: a certificate message may hold 100 KB and Node parses all of it. */
const MAX_LEAF_BYTES = 8 * 1024;
const MAX_ISSUER_BYTES = 16 * 1024;
/** The leaf, five intermediates, and room for a root, duplicates and strangers. */
const MAX_SENT = 16;

interface PeerContext {
  readonly bundle: TrustBundle;
  /** ms since the epoch */
  readonly now: number;
  /** `client`: the peer called us. `server`: we called it. */
  readonly purpose: PeerPurpose;
  readonly trustDomain: string;
  /** The newest revocation lists there are. */
  readonly crl?: Pick<CrlSet, 'lists' | 'sha256'> | undefined;
}

export interface PeerInput extends PeerContext {
  /** DER of each certificate as the peer sent it, the leaf first. */
  readonly chain: readonly Buffer[];
}

export interface AcceptedPeer {
  readonly ok: true;
  readonly spiffeId: SpiffeId;
  readonly leaf: Certificate;
  readonly root: Certificate;
}

interface RefusedPeer {
  readonly ok: false;
  readonly reason: PeerReason;
  /** One sentence with the values found. */
  readonly detail: string;
  /** Where it could be read. */
  readonly leaf?: Certificate;
}

export type PeerVerdict = AcceptedPeer | RefusedPeer;

/**
 * Our own pass over a peer's chain, after OpenSSL's: it refuses what an identity system must and OpenSSL does not
 * (CA:TRUE leaves, no EKU, several URIs, 99 intermediates …), and gives each refusal one reason. Pure; never throws.
 */
export function verifyPeer(input: PeerInput): PeerVerdict {
  const judged = judge(input);
  return judged.ok ? judged.verdict : judged.refusal;
}

/** Judges peers and remembers those it accepted. Bound to nothing: bundle, purpose and time come with each call. */
export interface PeerVerifier {
  /**
   * The verdict of `verifyPeer`. A leaf that was accepted under the same bundle, revocation list, purpose and trust domain is
   * accepted again by fingerprint while its whole path is in date, without reading `peer.chain()`: the path to the root exists,
   * whatever else the peer sent this time. Refusals are not remembered.
   */
  verify(peer: PeerSource, context: PeerContext): PeerVerdict;
}

/** A peer's certificates, the costly part on demand. `peerSource` in peer-chain.ts makes one of a TLS socket. */
export interface PeerSource {
  /** SHA-256 of the leaf's DER in any one notation; undefined when the peer showed no certificate. */
  readonly fingerprint256: string | undefined;
  chain(): readonly Buffer[];
}

export function createPeerVerifier({ maxEntries = 1024 }: { readonly maxEntries?: number } = {}): PeerVerifier {
  const accepted = new Map<string, Accepted>();
  return {
    verify(peer, context) {
      const { fingerprint256 } = peer;
      const { bundle, purpose, trustDomain, now, crl } = context;
      const key = `${fingerprint256} ${bundle.sha256} ${crl?.sha256} ${purpose} ${trustDomain}`;
      const known = accepted.get(key);
      if (known !== undefined) accepted.delete(key);
      if (known !== undefined && known.validFrom <= now && now <= known.validUntil) {
        accepted.set(key, known);
        return known.verdict;
      }
      const judged = judge({ ...context, chain: peer.chain() });
      if (!judged.ok) return judged.refusal;
      // Kept only under the fingerprint of the very leaf that was judged.
      if (judged.verdict.leaf.fingerprint256 !== fingerprint256?.replaceAll(':', '').toLowerCase())
        return judged.verdict;
      accepted.set(key, judged);
      const [oldest] = accepted.keys();
      if (accepted.size > maxEntries && oldest !== undefined) accepted.delete(oldest);
      return judged.verdict;
    },
  };
}

interface Accepted {
  readonly ok: true;
  readonly verdict: AcceptedPeer;
  /** When every certificate of the path is in date, ms since the epoch. */
  readonly validFrom: number;
  readonly validUntil: number;
}

interface Refused {
  readonly ok: false;
  readonly refusal: RefusedPeer;
}

function judge({ chain, bundle, now, purpose, trustDomain, crl }: PeerInput): Accepted | Refused {
  const tooMuch = sizeFault(chain);
  const [first, ...rest] = chain;
  if (tooMuch !== undefined || first === undefined) {
    return refuse(tooMuch ?? fault('no_certificate', 'the peer showed no certificate'));
  }
  const leaf = parse(first, 'the certificate');
  if ('reason' in leaf) return refuse(leaf);
  const others = rest.map((der, i) => parse(der, `certificate ${i + 2} of the chain`));
  const readable = others.filter((other): other is Certificate => !('reason' in other));
  const built = buildChain({ leaf, others: readable, roots: bundle.roots, now, purpose });
  // What an unknown CA wrote explains nothing, so trust is told before the rules of the leaf, those before the path's.
  if (!built.ok && !built.trusted)
    return refuse(others.find((other): other is Fault => 'reason' in other) ?? built.fault, leaf);
  const broken = leafFault(leaf, { now, purpose, trustDomain });
  if (broken !== undefined) return refuse(broken, leaf);
  if (!built.ok) return refuse(built.fault, leaf);
  const revoked = crl === undefined ? undefined : revokedFault(crl.lists, built.path);
  if (revoked !== undefined) return refuse(revoked, leaf);
  const { spiffeId } = leaf;
  if (spiffeId === undefined) return refuse(fault('bad_spiffe_id', 'the certificate has no valid SPIFFE id'), leaf);
  return {
    ok: true,
    verdict: Object.freeze({ ok: true, spiffeId, leaf, root: built.root }),
    validFrom: Math.max(...built.path.map(({ notBefore }) => notBefore)),
    validUntil: Math.min(...built.path.map(({ notAfter }) => notAfter)),
  };
}

function revokedFault(lists: CrlSet['lists'], path: readonly Certificate[]): Fault | undefined {
  for (const certificate of path) {
    const entry = revocationIn(lists, certificate);
    if (entry === undefined) continue;
    const who = certificate === path[0] ? 'the certificate' : `its issuer ${certificate.subject}`;
    return fault('revoked', `${who} (serial ${certificate.serial}) was revoked ${utc(entry.at)}: ${entry.reason}`);
  }
  return undefined;
}

function sizeFault(chain: readonly Buffer[]): Fault | undefined {
  if (chain.length > MAX_SENT) {
    return fault('chain_too_long', `the peer sent ${chain.length} certificates or more; ${MAX_SENT} are the limit`);
  }
  const index = chain.findIndex((der, i) => der.length > (i === 0 ? MAX_LEAF_BYTES : MAX_ISSUER_BYTES));
  const length = chain[index]?.length;
  if (length === undefined) return undefined;
  const limit = index === 0 ? MAX_LEAF_BYTES : MAX_ISSUER_BYTES;
  return fault('too_large', `certificate ${index + 1} of the chain has ${length} bytes; ${limit} are the limit`);
}

function parse(der: Buffer, what: string): Certificate | Fault {
  try {
    return parseCertificate(der);
  } catch (error) {
    const why = error instanceof SidelockError ? error.why : undefined;
    return fault('malformed', `${what} does not parse: ${why ?? 'it is no certificate'}`);
  }
}

function refuse({ reason, detail }: Fault, leaf?: Certificate): Refused {
  return { ok: false, refusal: Object.freeze({ ok: false, reason, detail, ...(leaf === undefined ? {} : { leaf }) }) };
}
