import type { Certificate } from './certificate.ts';
import { EXTENSION } from './certificate.ts';
import type { DerNode } from './der.ts';
import { DerError, readDer, sequenceOf, writeDer } from './der.ts';
import type { Fault } from './peer-reasons.ts';
import { fault } from './peer-reasons.ts';
import type { GeneralName } from './san.ts';
import { readGeneralName } from './san.ts';

interface Constraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** Subject of a certificate as a name, beside those of its subjectAltName. */
const DIRECTORY_NAME = 0xa4;

/**
 * Whether `issuer` may vouch for the names of `below` (RFC 5280 4.2.1.10), critical or not. Constraints that are empty,
 * malformed, or of a kind that is not understood refuse: nobody writes them for nothing.
 */
export function nameConstraintFault(issuer: Certificate, below: readonly Certificate[]): Fault | undefined {
  const found = issuer.extensions.find(({ oid }) => oid === EXTENSION.nameConstraints);
  if (found === undefined) return undefined;
  const refuse = (detail: string) => fault('name_constraints', `${issuer.subject || 'an issuer'} ${detail}`);
  try {
    const constraints = readConstraints(readDer(found.value));
    const broken = below.flatMap(namesOf).map((name) => breach(constraints, name));
    const first = broken.find((text) => text !== undefined);
    if (first !== undefined) return refuse(first);
  } catch (error) {
    return refuse(`has name constraints that do not parse: ${error instanceof DerError ? error.message : 'malformed'}`);
  }
  return undefined;
}

function breach({ permitted, excluded }: Constraints, name: GeneralName): string | undefined {
  const shown = `${name.type}:${name.value.slice(0, 120)}`;
  const kind = kindOf(name);
  const constrained = [...permitted, ...excluded].some((base) => kindOf(base) === kind);
  if (constrained && name.type === 'uri' && uriHost(lower(name)) === '')
    return `constrains URIs, and ${shown} has no host`;
  const allowed = permitted.filter((base) => kindOf(base) === kind);
  if (allowed.length > 0 && !allowed.some((base) => matches(base, name))) {
    return `may issue only for ${allowed.map(({ value }) => value || '(none)').join(', ')}, not for ${shown}`;
  }
  const forbidden = excluded.find((base) => kindOf(base) === kind && matches(base, name));
  return forbidden === undefined
    ? undefined
    : `may not issue for ${forbidden.value || 'any such name'}, as ${shown} is`;
}

/** Kinds that have their own rule; the rest are told apart by tag. */
function kindOf({ type, raw }: GeneralName): string {
  return type === 'other' ? `tag ${raw[0]}` : type;
}

function matches(base: GeneralName, name: GeneralName): boolean {
  switch (name.type) {
    case 'dns':
      return within(lower(name), lower(base));
    case 'uri':
      return hostMatches(uriHost(lower(name)), lower(base));
    case 'email':
      return mailboxMatches(lower(name), lower(base));
    case 'ip':
      return addressMatches(name.raw, base.raw);
    case 'other':
      return isPrefix(base.raw, name.raw);
  }
}

/** DNS: the base and everything below it; the empty base is everything. */
function within(host: string, base: string): boolean {
  return base === '' || host === base || host.endsWith(`.${base}`);
}

/** URI: the base is one host, or with a leading dot every host below it; an empty base is every host. */
function hostMatches(host: string, base: string): boolean {
  return base === '' || (base.startsWith('.') ? host.endsWith(base) : host === base);
}

function mailboxMatches(mailbox: string, base: string): boolean {
  if (base.includes('@')) return mailbox === base;
  return hostMatches(mailbox.slice(mailbox.lastIndexOf('@') + 1), base);
}

/** Octets of an address and a base of address and mask. */
function addressMatches(address: Buffer, base: Buffer): boolean {
  const { length } = address;
  return (
    base.length === 2 * length &&
    address.every((octet, i) => ((octet ^ (base[i] ?? 0)) & (base[length + i] ?? 0)) === 0)
  );
}

/** A directory name lies below a base when it begins with the same RDNs; octets are compared, which refuses more. */
function isPrefix(base: Buffer, name: Buffer): boolean {
  if (base[0] !== DIRECTORY_NAME) return base.equals(name);
  const rdns = (raw: Buffer) => readDer(raw).children[0]?.children.map((rdn) => rdn.raw) ?? [];
  const own = rdns(name);
  return rdns(base).every((rdn, i) => own[i]?.equals(rdn) === true);
}

function uriHost(uri: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/.exec(uri)?.[1] ?? '';
  return authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, '');
}

function lower({ raw }: GeneralName): string {
  return raw.toString('latin1').toLowerCase();
}

function namesOf({ sans, subjectDer }: Certificate): GeneralName[] {
  const subject = readDer(subjectDer).children.length === 0 ? [] : [directoryName(subjectDer)];
  return [...(sans ?? []), ...subject];
}

function directoryName(subjectDer: Buffer): GeneralName {
  return { type: 'other', value: 'its subject', raw: writeDer(DIRECTORY_NAME, subjectDer) };
}

function readConstraints(node: DerNode): Constraints {
  const parts = sequenceOf(node, 'nameConstraints');
  const tags = parts.map(({ tag }) => tag).join();
  if (!['160', '161', '160,161'].includes(tags)) throw new DerError('nameConstraints is empty or holds unknown parts');
  const subtrees = (tag: number) => {
    const part = parts.find((candidate) => candidate.tag === tag);
    if (part === undefined) return [];
    if (part.children.length === 0) throw new DerError('a list of subtrees is empty');
    return part.children.map(readSubtree);
  };
  const permitted = subtrees(0xa0);
  const excluded = subtrees(0xa1);
  // Octets may differ where names are equal, so an exclusion by octets could be walked around.
  if (excluded.some(({ type }) => type === 'other')) throw new DerError('an exclusion of this kind is not supported');
  return { permitted, excluded };
}

/** GeneralSubtree with the base alone: minimum is 0 and maximum absent in all of PKIX (RFC 5280 4.2.1.10). */
function readSubtree(node: DerNode): GeneralName {
  const [base, ...range] = sequenceOf(node, 'a subtree');
  if (base === undefined || range.length > 0) throw new DerError('a subtree has a range');
  const name = readGeneralName(base);
  const { type, raw } = name;
  if (type === 'dns' && raw[0] === 0x2e) throw new DerError('a DNS base begins with a dot');
  if (type === 'ip' && raw.length !== 8 && raw.length !== 32) throw new DerError('an IP base has no address and mask');
  return name;
}
