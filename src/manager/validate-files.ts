import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isSidelockError } from '../base/errors.ts';
import { parseBundle, type TrustBundle } from '../pki/bundle.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';
import { privateKeyFromPem, spkiSha256 } from '../pki/keys.ts';
import { dnsNamesFor, serviceOf } from '../pki/names.ts';
import { ownCredentialFault } from '../pki/own-rules.ts';
import { type PeerReason, verifyPeer } from '../pki/peer.ts';
import { nextRenewal } from '../pki/renewal.ts';
import { span, utc } from '../pki/text.ts';
import { readGeneration } from '../store/generation.ts';
import { CA_FILE, CERT_FILE, KEY_FILE } from '../store/layout.ts';

export type FindingId =
  | 'ca.ends'
  | 'ca.mode'
  | 'cert.missing'
  | 'cert.expired'
  | 'cert.not_yet_valid'
  | 'cert.due'
  | 'cert.revoked'
  | 'cert.own_rules'
  | 'key.match'
  | 'san.service'
  | 'san.missing'
  | 'bundle.root'
  | 'inventory.unknown'
  | 'file.missing'
  | 'file.unreadable'
  | 'file.mode'
  | `peer.${PeerReason}`;

/** One fault, in one line, with what to do. */
export interface Finding {
  readonly id: FindingId;
  /** `error`: peers refuse it, or a secret lies open. `warning`: not yet. */
  readonly severity: 'error' | 'warning';
  /** `ca` for the authority itself. */
  readonly service: string;
  readonly message: string;
  readonly fix: string;
}

interface FilesToValidate {
  /** Whose they are; undefined when only the certificate can tell. */
  readonly service: string | undefined;
  /** Of cert.pem, key.pem and ca.pem. */
  readonly directory: string;
  readonly trustDomain: string | undefined;
  readonly thresholdMs: number;
  /** ms since the epoch. */
  readonly now: number;
}

interface ValidatedFiles {
  readonly findings: Finding[];
  /** As far as they could be read. */
  readonly leaf: Certificate | undefined;
  readonly trusted: TrustBundle | undefined;
}

/** Everything that is wrong with one set of files, not only the first. */
export async function validateFiles(wanted: FilesToValidate): Promise<ValidatedFiles> {
  const { directory, now } = wanted;
  const findings: Finding[] = [];
  const name = wanted.service ?? directory;
  const add = (id: FindingId, severity: Finding['severity'], message: string, fix: string) =>
    findings.push({ id, severity, service: name, message, fix });
  const again =
    wanted.service === undefined ? 'get a new set from whoever writes it' : `sidelock rotate --services ${name}`;

  const files = await readable(() => readGeneration(directory, [CERT_FILE, KEY_FILE, CA_FILE], { confined: true }));
  if (files.fault !== undefined) add('file.unreadable', 'error', files.fault.message, files.fault.fix);
  if (files.value === undefined) return { findings, leaf: undefined, trusted: undefined };
  for (const file of [CERT_FILE, KEY_FILE, CA_FILE]) {
    const found = files.value.get(file);
    if (found === undefined) add('file.missing', 'error', `${join(directory, file)} is missing`, again);
    else
      for (const fault of modeFaults(file, found))
        add('file.mode', 'error', `${join(directory, file)} ${fault.what}`, `${fault.fix} ${join(directory, file)}`);
  }
  const { mode } = await stat(directory);
  if ((mode & 0o022) !== 0) {
    add(
      'file.mode',
      'error',
      `${directory} can be written by other users (mode ${octal(mode)})`,
      `chmod 0700 ${directory}`,
    );
  }

  const text = (file: string) => files.value?.get(file)?.data;
  const read = async <T>(file: string, parse: (data: Buffer) => T): Promise<T | undefined> => {
    const data = text(file);
    if (data === undefined) return undefined;
    const parsed = await readable(async () => parse(data));
    if (parsed.fault !== undefined) {
      const { message, why } = parsed.fault;
      add('file.unreadable', 'error', why === undefined ? message : `${message}: ${why}`, again);
    }
    return parsed.value;
  };
  const chain = (await read(CERT_FILE, (data) => certificatesFromPem(data, join(directory, CERT_FILE)))) ?? [];
  const key = await read(KEY_FILE, (data) => privateKeyFromPem(data, join(directory, KEY_FILE)));
  const trusted = await read(CA_FILE, (data) => parseBundle(data, join(directory, CA_FILE), now));
  const [leaf, ...rest] = chain;
  if (leaf === undefined) return { findings, leaf, trusted };
  if (key !== undefined && spkiSha256(key) !== leaf.spkiSha256) {
    add('key.match', 'error', `key.pem does not belong to cert.pem (serial ${leaf.serial})`, again);
  }
  for (const { id, severity, message } of dateFaults(leaf, wanted))
    add(id, severity, message, id === 'cert.not_yet_valid' ? 'correct the clock: timedatectl set-ntp true' : again);
  if (trusted !== undefined) {
    for (const { reason, detail } of peerFaults(chain, trusted, wanted))
      add(`peer.${reason}`, 'error', `peers refuse it: ${detail}`, again);
  }
  const strict = ownCredentialFault(leaf, rest);
  if (strict !== undefined) add('cert.own_rules', 'error', strict, again);
  for (const { id, message } of nameFaults(leaf, wanted))
    add(id, id === 'san.service' ? 'error' : 'warning', message, again);
  return { findings, leaf, trusted };
}

interface Read<T> {
  readonly value?: T;
  readonly fault?: { readonly message: string; readonly why: string | undefined; readonly fix: string };
}

async function readable<T>(work: () => Promise<T>): Promise<Read<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    return { fault: error };
  }
}

function modeFaults(file: string, { mode, uid }: { readonly mode: number; readonly uid: number }) {
  const own = process.geteuid?.() ?? uid;
  const isKey = file === KEY_FILE;
  return [
    ...((mode & (isKey ? 0o077 : 0o022)) === 0
      ? []
      : [
          {
            what: `can be ${isKey ? 'read' : 'changed'} by other users (mode ${octal(mode)})`,
            fix: `chmod ${isKey ? '0600' : '0644'}`,
          },
        ]),
    ...(uid === own || uid === 0 ? [] : [{ what: `belongs to uid ${uid}, we run as ${own}`, fix: `chown ${own}` }]),
  ];
}

function dateFaults(leaf: Certificate, { now, thresholdMs }: FilesToValidate) {
  const { notBefore, notAfter } = leaf;
  const of = (id: FindingId, severity: Finding['severity'], message: string) => [{ id, severity, message }];
  if (now > notAfter)
    return of('cert.expired', 'error', `the certificate expired ${span(now - notAfter)} ago (${utc(notAfter)})`);
  if (now < notBefore)
    return of('cert.not_yet_valid', 'error', `the certificate begins in ${span(notBefore - now)} (${utc(notBefore)})`);
  if (now < nextRenewal(leaf, thresholdMs, () => 0)) return [];
  return of('cert.due', 'warning', `the certificate ends in ${span(notAfter - now)} and was not rotated`);
}

/** As both kinds of peers judge, at a moment when the leaf is in date: whether it is was asked before. */
function peerFaults(chain: readonly Certificate[], bundle: TrustBundle, { now, trustDomain }: FilesToValidate) {
  const [leaf] = chain;
  const faults = new Map<PeerReason, string>();
  if (leaf === undefined) return [];
  const at = Math.min(Math.max(now, leaf.notBefore), leaf.notAfter);
  for (const purpose of ['client', 'server'] as const) {
    const domain = trustDomain ?? leaf.spiffeId?.trustDomain ?? '';
    const verdict = verifyPeer({ chain: chain.map(({ der }) => der), bundle, now: at, purpose, trustDomain: domain });
    if (!verdict.ok) faults.set(verdict.reason, verdict.detail);
  }
  return [...faults].map(([reason, detail]) => ({ reason, detail }));
}

function nameFaults(
  leaf: Certificate,
  { service }: FilesToValidate,
): Array<{ id: 'san.service' | 'san.missing'; message: string }> {
  const named = leaf.spiffeId === undefined ? undefined : serviceOf(leaf.spiffeId);
  if (service === undefined || named === undefined || leaf.spiffeId === undefined) return [];
  if (named.service !== service)
    return [{ id: 'san.service', message: `the certificate is that of ${leaf.spiffeId.uri}` }];
  const present = new Set(leaf.sans?.map(({ value }) => value));
  const own = dnsNamesFor({ ...named, trustDomain: leaf.spiffeId.trustDomain });
  // A constrained issuer cannot vouch for names of one label.
  const missing = own.filter((name) => name.includes('.') && !present.has(name));
  return missing.length === 0
    ? []
    : [{ id: 'san.missing', message: `the certificate lacks the name ${missing.join(', ')}` }];
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}
