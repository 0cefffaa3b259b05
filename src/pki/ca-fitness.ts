import { createPublicKey, type KeyObject } from 'node:crypto';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { parseBundle } from './bundle.ts';
import { type CaFinding, caFinding } from './ca-findings.ts';
import { type Certificate, EKU, EXTENSION } from './certificate.ts';
import { createIssuer, createRoot, issueLeaf, type Signer } from './issue.ts';
import { generateKey, spkiSha256 } from './keys.ts';
import { nameConstraintFault } from './name-constraints.ts';
import type { San } from './names.ts';
import { verifyPeer } from './peer.ts';
import { certificatesToPem } from './pem.ts';
import { caFault, criticalFault, keyFault, signatureFault } from './rules.ts';
import { span, utc } from './text.ts';

interface CaCandidate {
  /** That of the key first, as far as whoever gives them knows; then its issuers. */
  readonly certificates: readonly Certificate[];
  readonly key: KeyObject;
}

interface CaTerms {
  /** ms since the epoch. */
  readonly now: number;
  readonly trustDomain: string;
  readonly dnsDomains: readonly string[];
  /** Of the certificates it shall issue, ms. */
  readonly leafMs: number;
  /** Whether an issuing certificate is made under it. */
  readonly tier: boolean;
  /** A service as any: its certificate is made once, on trial. */
  readonly sample: { readonly spiffeId: string; readonly sans: readonly San[] };
  /** The roots that are, and were, here. */
  readonly known: readonly Certificate[];
}

interface ExaminedCa {
  /** Errors first; without one it can be taken. */
  readonly findings: readonly CaFinding[];
  /** The certificate of the key, its issuers, the root. */
  readonly path: readonly Certificate[];
  /** What it would issue; undefined when it cannot. */
  readonly leaf: Certificate | undefined;
}

const YEAR = 365 * 86_400_000;

/**
 * Says all that is wrong with somebody's CA before it is taken: as an issuer of ours, by our rules for peers' chains
 * and by what other implementations ask of one. At the end a certificate is issued on trial and judged as a peer would.
 */
export async function examineCa(candidate: CaCandidate, terms: CaTerms): Promise<ExaminedCa> {
  const { certificates, key } = candidate;
  const findings: CaFinding[] = [];
  const own = certificates.find((one) => one.spkiSha256 === spkiSha256(createPublicKey(key)));
  const start = own ?? certificates[0];
  if (start === undefined) throw new TypeError('a candidate has a certificate');
  if (own === undefined) {
    const what = `the key (sha256:${spkiSha256(createPublicKey(key)).slice(0, 16)}) is not that of ${start.subject} (sha256:${start.spkiSha256.slice(0, 16)})`;
    findings.push(caFinding('key_mismatch', what));
  }
  const { path, broken } = climb(start, certificates);
  findings.push(...broken, ...orderFindings(path, certificates));
  for (const [depth, one] of path.entries()) findings.push(...fitness(one, { depth, path, terms }));
  findings.push(...dateFindings(path, terms), ...knownFindings(path, terms));
  findings.push(...(await constraintFindings(path, terms)));
  const sound = !findings.some(({ level }) => level === 'error');
  const trial = sound ? await tryIt({ certificate: start, key }, path, terms) : undefined;
  if (trial?.finding !== undefined) findings.push(trial.finding);
  return {
    findings: findings.sort((a, b) => Number(a.level === 'warning') - Number(b.level === 'warning')),
    path,
    leaf: trial?.leaf,
  };
}

function climb(start: Certificate, all: readonly Certificate[]) {
  const path = [start];
  for (let at = start; !at.subjectDer.equals(at.issuerDer); ) {
    const named = all.filter(({ subjectDer }) => subjectDer.equals(at.issuerDer));
    const next = named.find((one) => !path.includes(one) && signedBy(at, one));
    if (next === undefined) {
      const what =
        named.length > 0
          ? `${shown(at)} was not signed by the ${at.issuer} that is given`
          : `${shown(at)} was issued by ${at.issuer}, which is not given`;
      return { path, broken: [caFinding(named.length > 0 ? 'chain_broken' : 'chain_incomplete', what)] };
    }
    path.push(next);
    at = next;
  }
  const root = path.at(-1) ?? start;
  if (signedBy(root, root)) return { path, broken: [] };
  return {
    path,
    broken: [caFinding('chain_broken', `${shown(root)} names itself as issuer, and its key did not sign it`)],
  };
}

function orderFindings(path: readonly Certificate[], certificates: readonly Certificate[]): CaFinding[] {
  const strangers = certificates.filter((one) => !path.some((c) => c.fingerprint256 === one.fingerprint256));
  const given = certificates.filter((one) => !strangers.includes(one));
  const ordered = path.every((one, i) => given[i]?.fingerprint256 === one.fingerprint256);
  return [
    ...strangers.map((one) => caFinding('unrelated_certificate', `${shown(one)} has no part in the chain`)),
    ...(ordered ? [] : [caFinding('wrong_order', `the right order is: ${path.map(shown).join(', then ')}`)]),
  ];
}

interface Position {
  /** 0 for the certificate of the key. */
  readonly depth: number;
  readonly path: readonly Certificate[];
  readonly terms: CaTerms;
}

/** Rules for one certificate; the root's own signature proves nothing, so its algorithm is no fault. */
function fitness(one: Certificate, { depth, path, terms }: Position): CaFinding[] {
  const who = shown(one);
  const found: CaFinding[] = [];
  const add = (code: Parameters<typeof caFinding>[0], what: string | undefined) => {
    if (what !== undefined) found.push(caFinding(code, what));
  };
  const isRoot = one.subjectDer.equals(one.issuerDer);
  add('weak_key', keyFault(one, who)?.detail);
  if (!isRoot) add('weak_signature', signatureFault(one, who)?.detail);
  if (one.version !== 3) {
    add('version_1', `${who} is an X.509 v${one.version} certificate, which cannot say that it is a CA`);
    return found;
  }
  const noCa = caFault(one, who)?.detail;
  add('not_a_ca', noCa);
  if (noCa !== undefined) return found;
  const constraints = one.extensions.find(({ oid }) => oid === EXTENSION.basicConstraints);
  if (constraints?.critical !== true) add('not_critical', `the basicConstraints of ${who} are not critical`);
  if (one.keyUsage === undefined) add('not_critical', `${who} has no key usage`);
  if (depth === 0 && one.keyUsage?.has('cRLSign') === false) {
    add('cannot_sign_crls', `the key usage of ${who} is ${[...one.keyUsage].join(', ')}, without cRLSign`);
  }
  if (one.ski === undefined) add('missing_key_id', `${who} has no subject key identifier`);
  if (!isRoot && one.aki === undefined) add('missing_key_id', `${who} has no authority key identifier`);
  add('unknown_extension', criticalFault(one, who)?.detail);
  const { eku } = one;
  if (eku !== undefined && !(eku.includes(EKU.serverAuth) && eku.includes(EKU.clientAuth))) {
    add('wrong_usage', `${who} may issue only for ${eku.join(', ')}`);
  }
  const below = path.slice(0, depth).length + (terms.tier && path.length === 1 ? 1 : 0);
  const { pathLength } = one;
  if (pathLength !== undefined && below > pathLength) {
    add('path_length', `${who} allows ${pathLength} issuers below it, and ${below} would be there`);
  } else if (path.length === 1 && pathLength === 0) {
    add('no_room_for_devices', `${who} has pathlen 0, so there can be no issuer of devices under it`);
  }
  return found;
}

function dateFindings(path: readonly Certificate[], { now, leafMs }: CaTerms): CaFinding[] {
  const expired = path.filter(({ notAfter }) => notAfter <= now);
  const early = path.filter(({ notBefore }) => notBefore > now);
  const wrong = [
    ...expired.map((one) => caFinding('expired', `${shown(one)} expired ${utc(one.notAfter)}`)),
    ...early.map((one) =>
      caFinding('not_yet_valid', `${shown(one)} is valid from ${utc(one.notBefore)}, here it is ${utc(now)}`),
    ),
  ];
  const first = path.reduce((least, one) => (one.notAfter < least.notAfter ? one : least));
  const left = first.notAfter - now;
  if (wrong.length > 0 || left >= YEAR) return wrong;
  const what = `${shown(first)} ends in ${span(left)} (${utc(first.notAfter)})`;
  return left < leafMs
    ? [caFinding('too_short', `${what}, before a certificate of ${span(leafMs)} that it would issue now`)]
    : [caFinding('short_lived', what)];
}

function knownFindings(path: readonly Certificate[], { known }: CaTerms): CaFinding[] {
  const root = path.at(-1);
  if (root === undefined) return [];
  if (known.some(({ spkiSha256: key }) => path.some((one) => one.spkiSha256 === key))) {
    return [caFinding('known_already', `${shown(root)} is, or was, a root here`)];
  }
  const namesake = known.some(({ subjectDer }) => subjectDer.equals(root.subjectDer));
  return namesake
    ? [caFinding('same_name', `${shown(root)} has the name of a root that is here, and another key`)]
    : [];
}

/** Asked of a certificate by a throwaway key, so that this is told whatever else is wrong. */
async function constraintFindings(path: readonly Certificate[], terms: CaTerms): Promise<CaFinding[]> {
  const constrained = path.filter(({ extensions }) => extensions.some(({ oid }) => oid === EXTENSION.nameConstraints));
  if (constrained.length === 0) return [];
  const key = await generateKey('ecdsa-p256');
  const { now, sample } = terms;
  const signer = { key, certificate: await createRoot({ name: 'trial', key, now, validityYears: 1 }) };
  const leaf = issueLeaf({
    ...{ signer, publicKey: createPublicKey(key), now, validityMs: 60_000, spiffeId: sample.spiffeId },
    sans: sample.sans.filter(({ type, value }) => type !== 'dns' || value.includes('.')),
  });
  return constrained.flatMap((issuer) => {
    const broken = nameConstraintFault(issuer, [leaf]);
    return broken === undefined ? [] : [caFinding('name_constraints', broken.detail)];
  });
}

async function tryIt(signer: Signer, path: readonly Certificate[], terms: CaTerms) {
  const { now, leafMs, sample, tier, trustDomain, dnsDomains } = terms;
  const key = await generateKey('ecdsa-p256');
  const publicKey = createPublicKey(key);
  try {
    const under: Signer =
      tier && path.length === 1
        ? {
            key,
            certificate: await createIssuer({
              ...{ name: 'trial', issuer: signer, publicKey, now, validityYears: 1, trustDomain, dnsDomains },
            }),
          }
        : signer;
    const leaf = issueLeaf({ signer: under, publicKey, ...sample, validityMs: leafMs, now });
    const bundle = parseBundle(certificatesToPem(path.slice(-1)), 'the root', now);
    const between = under === signer ? path.slice(0, -1) : [under.certificate];
    const chain = [leaf, ...between].map(({ der }) => der);
    for (const purpose of ['client', 'server'] as const) {
      const verdict = verifyPeer({ chain, bundle, now, purpose, trustDomain });
      if (verdict.ok) continue;
      const code = verdict.reason === 'name_constraints' ? 'name_constraints' : 'refused_by_peers';
      return { leaf: undefined, finding: caFinding(code, `a certificate of it: ${verdict.detail}`) };
    }
    return { leaf, finding: undefined };
  } catch (error) {
    if (!(error instanceof SidelockError)) throw error;
    const code = isSidelockError(error, 'SL-NAME-004') ? 'name_constraints' : 'refused_by_peers';
    return { leaf: undefined, finding: caFinding(code, `${error.message}: ${error.why ?? ''}`) };
  }
}

function signedBy(child: Certificate, issuer: Certificate): boolean {
  try {
    return child.x509.verify(issuer.x509.publicKey);
  } catch {
    return false;
  }
}

function shown({ subject, serial }: Certificate): string {
  return subject || `serial ${serial}`;
}
