import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { parseBundle, type TrustBundle } from '../pki/bundle.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';
import { keyIdOfSigner, type Signer } from '../pki/issue.ts';
import { certificatesToPem } from '../pki/pem.ts';
import { readRegularFile, removeDurable } from '../store/files.ts';
import {
  type Authority,
  type AuthorityOptions,
  authorityDirectory,
  openAuthority,
  readAuthority,
  removeHalfMade,
} from './ca.ts';
import { deviceDirectory } from './device-issuer.ts';
import { finishOffline } from './root-key.ts';
import { FIRST, nextNumber, oldRoots, readTrustState, type TrustState, writeTrustState } from './trust-state.ts';

/** The roots of one state, opened. Replaced as a whole. */
export interface Roots {
  readonly state: TrustState;
  /** What signs now, with the whole bundle, and with what must be sent after a leaf. */
  readonly authority: Authority;
  readonly bundle: TrustBundle;
  /** Besides, the roots that were: what they vouched for still tells who asks for the next certificate. */
  readonly proving: TrustBundle;
  /** Everybody in the bundle that signs certificates of services. */
  readonly signers: readonly Signer[];
  /** Each root that is or was trusted, by number. */
  readonly roots: ReadonlyMap<number, Certificate>;
  /** Those of them that are trusted, and whose key is elsewhere. */
  readonly offline: ReadonlySet<number>;
}

/**
 * Opens the state of a storage, making the first root at the first start. What a step that did not happen left behind
 * is taken away.
 * @throws SidelockError SL-CA-001, SL-CA-002, SL-STORE-003
 */
export async function openState(
  options: AuthorityOptions & { readonly usedBefore: boolean },
): Promise<{ readonly state: TrustState; readonly created: boolean }> {
  const { stateDirectory, clock } = options;
  await removeHalfMade(stateDirectory);
  const found = await readTrustState(stateDirectory);
  const others = await laterRoots(stateDirectory);
  if (found === undefined && others.length > 0) {
    throw new SidelockError('SL-CA-001', `the certificate authority cannot be opened: ${stateDirectory}`, {
      why: `there are further roots (${others.map((n) => `ca-${n}`).join(', ')}), but trust.json, which says what they are for, is gone`,
      fix: 'Restore .sidelock from a backup.',
    });
  }
  if (found === undefined) {
    const { created } = await openAuthority(options);
    const state = { ...FIRST, since: clock.now() };
    await writeTrustState(stateDirectory, state);
    return { state, created };
  }
  const unused = others.filter((number) => number >= nextNumber(found));
  await removeDurable(unused.map((number) => authorityDirectory(stateDirectory, number)));
  await destroyRetired(stateDirectory, found);
  for (const number of found.trusted) await finishOffline(authorityDirectory(stateDirectory, number));
  return { state: found, created: false };
}

/** @throws SidelockError SL-CA-001, SL-CA-002 */
export async function openRoots(options: AuthorityOptions, state: TrustState): Promise<Roots> {
  const { stateDirectory, clock } = options;
  const trusted: Authority[] = [];
  for (const number of state.trusted) trusted.push(await readAuthority(options, number));
  const signing = trusted.find(({ number }) => number === state.signing);
  if (signing === undefined) throw new SidelockError('SL-STORE-003', `${stateDirectory}/trust.json is damaged`);
  const retired = new Map<number, Certificate>();
  for (const number of state.retired) {
    const root = await retiredRoot(authorityDirectory(stateDirectory, number));
    if (root !== undefined) retired.set(number, root);
  }
  const bundlePem = trusted.map(({ bundlePem: pem }) => pem).join('');
  const now = clock.now();
  const bundle = parseBundle(bundlePem, 'the bundle of the CA', now);
  const former = certificatesToPem([...retired.values()]);
  // Sent only while somebody may not know the new root yet.
  const cross = oldRoots(state).length > 0 ? signing.crossPem : '';
  return Object.freeze({
    state,
    authority: Object.freeze({
      ...signing,
      bundlePem,
      chainPem: signing.issuerPem + cross,
      ownKeys: new Set(trusted.flatMap(({ ownKeys }) => [...ownKeys])),
    }),
    bundle,
    proving: former === '' ? bundle : parseBundle(bundlePem + former, 'the roots that were', now),
    signers: trusted.map(({ signer }) => signer),
    roots: new Map([...retired, ...trusted.map(({ number, root }) => [number, root] as const)]),
    offline: new Set(trusted.flatMap(({ number, offline }) => (offline === undefined ? [] : [number]))),
  });
}

/** Number of the root that vouches for a chain (leaf, issuers, maybe cross certificates); undefined for a stranger's. */
export function rootOf({ roots }: Pick<Roots, 'roots'>, chainPem: string): number | undefined {
  const [leaf, ...issuers] = certificatesFromPem(chainPem, 'the inventory');
  for (let at = leaf, steps = 0; at !== undefined && steps <= issuers.length; steps++) {
    const { aki } = at;
    const found = [...roots].find(([, root]) => keyId(root) === aki);
    if (found !== undefined) return found[0];
    at = issuers.find((issuer) => keyId(issuer) === aki);
  }
  return undefined;
}

/** The keys of roots that are trusted no more. Safe to repeat. */
export async function destroyRetired(stateDirectory: string, { retired }: TrustState): Promise<void> {
  for (const number of retired) {
    const directory = authorityDirectory(stateDirectory, number);
    const keys = ['root.key', 'issuer.key'].map((file) => join(directory, file));
    await removeDurable([...keys, deviceDirectory(stateDirectory, number)]);
  }
}

function keyId(certificate: Certificate): string {
  return keyIdOfSigner({ certificate }).toString('hex');
}

async function laterRoots(stateDirectory: string): Promise<number[]> {
  const entries = await readdir(stateDirectory);
  return entries.flatMap((entry) => {
    const number = /^ca-(\d{1,6})$/.exec(entry)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
}

async function retiredRoot(directory: string): Promise<Certificate | undefined> {
  const path = join(directory, 'root.crt');
  try {
    return certificatesFromPem((await readRegularFile(path)).data, path)[0];
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
