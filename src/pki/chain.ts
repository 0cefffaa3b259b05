import type { Certificate } from './certificate.ts';
import { nameConstraintFault } from './name-constraints.ts';
import type { Fault, PeerPurpose } from './peer-reasons.ts';
import { fault } from './peer-reasons.ts';
import { caFault, formFault, keyFault, neededEku, signatureFault } from './rules.ts';
import { shortKeyId, span, utc } from './text.ts';

/** Certificates between leaf and root. OpenSSL takes 99, and Node has no option to lower that. */
const MAX_INTERMEDIATES = 5;
/** A path of that length needs six; the rest is for issuers of one name, of which a stranger may send many. */
const MAX_SIGNATURE_CHECKS = 24;

const ANY_EKU = '2.5.29.37.0';

interface ChainInput {
  readonly leaf: Certificate;
  /** What else the peer sent: in any order, with duplicates, the root, and strangers. */
  readonly others: readonly Certificate[];
  readonly roots: readonly Certificate[];
  /** ms since the epoch */
  readonly now: number;
  readonly purpose: PeerPurpose;
}

/** Leaf, intermediates, root. */
type Path = readonly Certificate[];

export type ChainVerdict =
  | { readonly ok: true; readonly path: Path; readonly root: Certificate }
  /** `trusted`: signatures lead to a root of ours and a rule is broken on the way; else nothing in the chain is believed. */
  | { readonly ok: false; readonly fault: Fault; readonly trusted: boolean };

type Failure = Extract<ChainVerdict, { ok: false }> & { readonly reach: number };

/**
 * Looks for a path of valid signatures from `leaf` to one of `roots` on which every rule for issuers holds
 * (RFC 5280 6.1). All candidates are tried within a budget; of several failures the one that came furthest is told.
 */
export function buildChain(input: ChainInput): ChainVerdict {
  const { leaf, others, roots } = input;
  const failures: Failure[] = [];
  const candidates = distinct([...roots, ...others]);
  const anchors = new Set(roots.map(({ fingerprint256 }) => fingerprint256));
  let checks = 0;

  const climb = (path: Path, child: Certificate): ChainVerdict | undefined => {
    const fail = (found: Fault, trusted = false) => {
      failures.push({ ok: false, fault: found, trusted, reach: path.length });
      return undefined;
    };
    const weak = signatureFault(child, position(path, child));
    if (weak !== undefined) return fail(weak);
    const issuers = candidates.filter((issuer) => namesIssuer(child, issuer) && !path.some((c) => same(c, issuer)));
    if (issuers.length === 0) return fail(unknownIssuer(path, child, roots));
    for (const issuer of issuers) {
      const who = position([...path, issuer], issuer);
      const unfit = caFault(issuer, who) ?? keyFault(issuer, who);
      if (unfit !== undefined) {
        fail(unfit);
        continue;
      }
      if (++checks > MAX_SIGNATURE_CHECKS)
        return fail(fault('chain_too_long', 'too many issuers of one name were sent'));
      if (!signed(child, issuer)) {
        fail(isSelfIssued(child) ? unknownIssuer(path, child, roots) : badSignature(path, child, issuer));
        continue;
      }
      const longer = [...path, issuer];
      if (anchors.has(issuer.fingerprint256)) {
        const broken = pathFault(longer, input);
        if (broken === undefined) return { ok: true, path: longer, root: issuer };
        fail(broken, true);
        continue;
      }
      const odd = formFault(issuer, who);
      if (odd !== undefined) {
        fail(odd);
      } else if (path.length > MAX_INTERMEDIATES) {
        fail(fault('chain_too_long', `more than ${MAX_INTERMEDIATES} intermediates lie between the leaf and a root`));
      } else {
        const found = climb(longer, issuer);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  };

  return climb([leaf], leaf) ?? furthest(failures);
}

/** Rules of a path whose signatures hold: dates, path lengths, purposes and names under each issuer. */
function pathFault(path: Path, { now, purpose }: ChainInput): Fault | undefined {
  for (const [depth, issuer] of path.entries()) {
    if (depth === 0) continue;
    const below = path.slice(0, depth);
    const found =
      issuerDateFault(issuer, now) ??
      pathLengthFault(issuer, below) ??
      ekuFault(issuer, purpose) ??
      nameConstraintFault(
        issuer,
        below.filter((c, i) => i === 0 || !isSelfIssued(c)),
      );
    if (found !== undefined) return found;
  }
  return undefined;
}

function issuerDateFault({ subject, notBefore, notAfter }: Certificate, now: number): Fault | undefined {
  if (now > notAfter) {
    return fault(
      'issuer_expired',
      `the issuer ${subject} expired ${span(now - notAfter)} ago (${utc(notAfter)}, here it is ${utc(now)})`,
    );
  }
  if (now >= notBefore) return undefined;
  return fault('not_yet_valid', `the issuer ${subject} is valid from ${utc(notBefore)}, our clock says ${utc(now)}`);
}

/** Counts intermediates below, self-issued ones not (RFC 5280 4.2.1.9). */
function pathLengthFault({ subject, pathLength }: Certificate, below: Path): Fault | undefined {
  const count = below.slice(1).filter((c) => !isSelfIssued(c)).length;
  if (pathLength === undefined || count <= pathLength) return undefined;
  return fault('path_length', `${subject} allows ${pathLength} intermediates below it, the chain has ${count}`);
}

/** An issuer with an extended key usage limits those below it, as OpenSSL and browsers read it. */
function ekuFault({ subject, eku }: Certificate, purpose: PeerPurpose): Fault | undefined {
  const needed = neededEku(purpose);
  if (eku === undefined || eku.includes(needed.oid) || eku.includes(ANY_EKU)) return undefined;
  return fault(
    'issuer_wrong_eku',
    `the issuer ${subject} may only issue for ${eku.join(', ')}, not for ${needed.name}`,
  );
}

/** By name, octet for octet, and by key identifier where both have one. */
function namesIssuer(child: Certificate, issuer: Certificate): boolean {
  const { aki } = child;
  const { ski } = issuer;
  return child.issuerDer.equals(issuer.subjectDer) && (aki === undefined || ski === undefined || aki === ski);
}

function signed(child: Certificate, issuer: Certificate): boolean {
  try {
    return child.x509.verify(issuer.x509.publicKey);
  } catch {
    return false;
  }
}

function badSignature(path: Path, child: Certificate, issuer: Certificate): Fault {
  return fault(
    'bad_signature',
    `the key of ${issuer.subject} (${shortKeyId(issuer.ski)}) did not sign ${position(path, child)}: altered, or from another CA of that name`,
  );
}

function unknownIssuer(path: Path, child: Certificate, roots: readonly Certificate[]): Fault {
  const issuer = `${child.issuer || 'an issuer without name'} (key id ${shortKeyId(child.aki)})`;
  const ours = `our bundle has ${roots.map(({ subject, ski }) => `${subject} (key id ${shortKeyId(ski)})`).join(', ')}`;
  if (path.length === 1 && roots.some((root) => same(root, child))) {
    return fault('ca_as_leaf', `the peer showed the root ${child.subject} itself as its certificate`);
  }
  if (path.length === 1 && isSelfIssued(child) && signed(child, child)) {
    return fault('self_signed', `the certificate of ${child.subject || 'a peer without name'} is self-signed; ${ours}`);
  }
  if (roots.some(({ subjectDer }) => subjectDer.equals(child.issuerDer))) {
    return fault('unknown_ca', `its issuer is ${issuer}, ${ours}: same name, other key (two managers?)`);
  }
  if (isSelfIssued(child)) return fault('unknown_ca', `its root is ${issuer}, ${ours}`);
  const missing = path.length === 1 ? 'its intermediate' : 'all its intermediates';
  return fault(
    'chain_incomplete',
    `the peer did not send ${missing}, or its CA is unknown here: ${issuer} is missing, ${ours}`,
  );
}

/** How a sentence names a certificate of the path. */
function position(path: Path, certificate: Certificate): string {
  return certificate === path[0]
    ? `the certificate (serial ${certificate.serial})`
    : `the issuer ${certificate.subject || 'without name'}`;
}

function furthest(failures: readonly Failure[]): ChainVerdict {
  const [first, ...rest] = failures;
  if (first === undefined) throw new TypeError('a search that fails says why');
  const weight = ({ trusted, reach }: Failure) => (trusted ? 1_000 : 0) + reach;
  const { fault: found, trusted } = rest.reduce((best, next) => (weight(next) > weight(best) ? next : best), first);
  return { ok: false, fault: found, trusted };
}

function isSelfIssued({ subjectDer, issuerDer }: Certificate): boolean {
  return subjectDer.equals(issuerDer);
}

function same(a: Certificate, b: Certificate): boolean {
  return a.fingerprint256 === b.fingerprint256;
}

function distinct(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((c) => [c.fingerprint256, c])).values()];
}
