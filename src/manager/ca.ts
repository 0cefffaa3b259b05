import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';
import { createIssuer, createRoot, crossSign, type Signer } from '../pki/issue.ts';
import { generateKey, privateKeyFromPem, privateKeyToPem, spkiSha256 } from '../pki/keys.ts';
import { certificatesToPem, pemEncode } from '../pki/pem.ts';
import { placeDirectory, readRegularFile, writeNewFile } from '../store/files.ts';
import { CERT_MODE, KEY_MODE } from '../store/layout.ts';
import { checkRights } from '../store/rights.ts';
import { OFFLINE_FILE, type OfflineRoot, offlineText, readOffline } from './root-offline.ts';

/** What signs leaves, and what proves it. */
export interface Authority {
  readonly name: string;
  /** 1 for the root of the first start, then one more for each that followed. */
  readonly number: number;
  readonly root: Certificate;
  readonly signer: Signer;
  /** Signs further issuers; the same as `signer` without an issuing tier. Undefined while its key is elsewhere. */
  readonly rootSigner: Signer | undefined;
  /** Why and since when the root's key is not here. */
  readonly offline: OfflineRoot | undefined;
  /** The issuing certificate and what lies between it and the root; empty when the root signs. */
  readonly issuerPem: string;
  /** What is sent after a leaf: `issuerPem`, and `crossPem` while the root before is trusted. */
  readonly chainPem: string;
  /** The root once more, signed by the one before it; empty for the first. */
  readonly crossPem: string;
  /** The roots that everybody must trust. */
  readonly bundlePem: string;
  /** True when this call made the CA. */
  readonly created: boolean;
  /** SHA-256 of the public keys of the CA: no request may hold one of them. */
  readonly ownKeys: ReadonlySet<string>;
}

export interface AuthorityOptions {
  /** `.sidelock`, which the caller holds the lock of. */
  readonly stateDirectory: string;
  readonly name: string;
  readonly keySize: 2048 | 3072 | 4096;
  readonly validityYears: number;
  readonly passphrase: string | undefined;
  readonly issuer: boolean;
  readonly trustDomain: string;
  /** Domains that the issuing certificate may vouch for besides those of service names. */
  readonly dnsDomains: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly onProgress: (text: string) => void;
}

/** A CA that was made elsewhere. */
export interface GivenCa {
  /** The certificate of the key, its issuers, the root. */
  readonly path: readonly Certificate[];
  readonly key: KeyObject;
}

const TEMPORARY = 'ca.new-';

/**
 * Opens the first CA of a store, or makes it at the first start. It appears under its name only when it is whole,
 * and is never made over what is left of another one.
 * @param usedBefore certificates were issued here, so that a missing CA is a loss and not a first start
 * @throws SidelockError SL-CA-001 missing, damaged or mismatched, SL-CA-002 passphrase, SL-FS-003.
 */
export async function openAuthority({
  usedBefore,
  ...options
}: AuthorityOptions & { readonly usedBefore: boolean }): Promise<Authority> {
  const { stateDirectory } = options;
  await removeHalfMade(stateDirectory);
  const directory = authorityDirectory(stateDirectory, 1);
  const created = (await filesIn(directory)) === undefined;
  if (created && usedBefore) throw broken(directory, 'it is gone, but certificates were issued here before');
  if (created) await createCa(directory, options, { number: 1 });
  return { ...(await readCa(directory, options, 1)), created };
}

/** Where the CA of that number lies. */
export function authorityDirectory(stateDirectory: string, number: number): string {
  return join(stateDirectory, number === 1 ? 'ca' : `ca-${number}`);
}

/** Opens a CA that is there. @throws SidelockError SL-CA-001, SL-CA-002 */
export async function readAuthority(options: AuthorityOptions, number: number): Promise<Authority> {
  return { ...(await readCa(authorityDirectory(options.stateDirectory, number), options, number)), created: false };
}

interface Making {
  readonly number: number;
  /** By which the new root is cross-signed; not at all unless given. */
  readonly previous?: Signer | undefined;
  /** Taken over in place of one made here. */
  readonly given?: GivenCa | undefined;
}

/**
 * Makes the CA of that number, the first or one that follows `previous`. It appears when it is whole; whose crash it
 * survives unused decides the caller. @throws SidelockError SL-FS-003
 */
export async function makeAuthority(options: AuthorityOptions, making: Making): Promise<Authority> {
  await createCa(authorityDirectory(options.stateDirectory, making.number), options, making);
  return await readAuthority(options, making.number);
}

/** Takes away what a crash left of a CA that was being made. Only while nobody makes one. */
export async function removeHalfMade(stateDirectory: string): Promise<void> {
  for (const entry of await readdir(stateDirectory)) {
    if (entry.startsWith(TEMPORARY)) await rm(join(stateDirectory, entry), { recursive: true });
  }
}

async function filesIn(directory: string): Promise<string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw broken(directory, `it cannot be read (${nodeCode(error)})`, error);
  }
}

async function createCa(directory: string, options: AuthorityOptions, making: Making): Promise<void> {
  const { passphrase, clock, onProgress, stateDirectory, validityYears, trustDomain, dnsDomains } = options;
  const { number, previous, given } = making;
  const called = number === 1 ? options.name : `${options.name} (${number})`;
  const now = clock.now();
  const { root, files, rootKey } =
    given === undefined ? await newRoot(called, options, making) : givenRoot(given, options);
  if (previous !== undefined) {
    files['cross.crt'] = pemEncode('CERTIFICATE', (await crossSign(root, previous, now)).der);
  }
  if (options.issuer && rootKey !== undefined) {
    onProgress(`making its issuing certificate: RSA ${options.keySize} key`);
    const issuerKey = await generateKey(`rsa-${options.keySize}`);
    const issuer = await createIssuer({
      name: `${called} Issuing`,
      issuer: { certificate: root, key: rootKey },
      publicKey: createPublicKey(issuerKey),
      ...{ now, validityYears, trustDomain, dnsDomains },
    });
    files['issuer.crt'] = pemEncode('CERTIFICATE', issuer.der);
    files['issuer.key'] = privateKeyToPem(issuerKey, passphrase);
  }
  const temporary = await mkdtemp(join(stateDirectory, TEMPORARY));
  for (const [file, data] of Object.entries(files)) {
    await writeNewFile(join(temporary, file), data, file.endsWith('.crt') ? CERT_MODE : KEY_MODE);
  }
  await placeDirectory(temporary, directory);
}

interface Made {
  readonly root: Certificate;
  readonly rootKey: KeyObject | undefined;
  readonly files: Record<string, string>;
}

async function newRoot(called: string, options: AuthorityOptions, { number }: Making): Promise<Made> {
  const { name, keySize, validityYears, passphrase, clock, onProgress } = options;
  onProgress(`making the certificate authority ${called}: RSA ${keySize} key, valid ${validityYears} years`);
  const key = await generateKey(`rsa-${keySize}`);
  const root = await createRoot({ name, key, now: clock.now(), validityYears, generation: number });
  const files = { 'root.crt': pemEncode('CERTIFICATE', root.der), 'root.key': privateKeyToPem(key, passphrase) };
  return { root, rootKey: key, files };
}

/** Of an intermediate the root's key is not given, and so is offline from the beginning. */
function givenRoot({ path, key }: GivenCa, { passphrase, clock }: AuthorityOptions): Made {
  const [own, ...above] = path;
  const root = above.at(-1) ?? own;
  if (own === undefined || root === undefined) throw new TypeError('a path has a certificate');
  const keyPem = privateKeyToPem(key, passphrase);
  if (root === own) return { root, rootKey: key, files: { 'root.crt': certificatesToPem([root]), 'root.key': keyPem } };
  const files: Record<string, string> = {
    'root.crt': certificatesToPem([root]),
    'issuer.crt': certificatesToPem([own]),
    'issuer.key': keyPem,
    [OFFLINE_FILE]: offlineText({ since: clock.now(), how: 'imported' }),
  };
  const between = above.slice(0, -1);
  if (between.length > 0) files['between.crt'] = certificatesToPem(between);
  return { root, rootKey: undefined, files };
}

async function readCa(
  directory: string,
  options: AuthorityOptions,
  number: number,
): Promise<Omit<Authority, 'created'>> {
  const files = (await filesIn(directory)) ?? [];
  const offline = await readOffline(directory);
  const rootSigner = offline === undefined ? await readSigner(directory, 'root', options) : undefined;
  const root = rootSigner?.certificate ?? (await readOwn(directory, 'root'));
  if (!root.issuerDer.equals(root.subjectDer)) {
    throw broken(join(directory, 'root.crt'), 'it is not a self-signed root');
  }
  const tiered = files.some((file) => file.startsWith('issuer.'));
  if (options.issuer && !tiered) {
    options.log.warn(
      { event: 'ca_without_issuer', number, fix: 'sidelock trust stage' },
      `ca.issuer is on, but root ${number} was made without: it signs itself, the next root will not`,
    );
  }
  const signer = tiered ? await readSigner(directory, 'issuer', options) : rootSigner;
  if (signer === undefined) throw broken(directory, 'the key of the root is offline, and no issuer is here');
  const between = files.includes('between.crt') ? await readCertificates(join(directory, 'between.crt')) : [];
  const path = [signer.certificate, ...(tiered ? [...between, root] : [])];
  for (const [i, issuer] of path.slice(1).entries()) {
    if (path[i]?.x509.verify(issuer.x509.publicKey) !== true) {
      throw broken(join(directory, 'issuer.crt'), `${issuer === root ? 'root.crt' : 'between.crt'} did not sign it`);
    }
  }
  const issuerPem = certificatesToPem(path.slice(0, -1));
  return Object.freeze({
    name: options.name,
    number,
    root,
    signer,
    rootSigner,
    offline,
    issuerPem,
    chainPem: issuerPem,
    crossPem: files.includes('cross.crt') ? await readCross(directory, root) : '',
    bundlePem: pemEncode('CERTIFICATE', root.der),
    ownKeys: new Set([root.spkiSha256, signer.certificate.spkiSha256]),
  });
}

async function readOwn(directory: string, name: 'root' | 'issuer'): Promise<Certificate> {
  const path = join(directory, `${name}.crt`);
  try {
    const [certificate, ...more] = await readCertificates(path);
    if (certificate === undefined || more.length > 0) throw broken(path, 'it must hold exactly one certificate');
    if (certificate.isCa !== true) throw broken(path, 'it is no CA certificate');
    return certificate;
  } catch (error) {
    throw explain(error, directory);
  }
}

async function readSigner(directory: string, name: 'root' | 'issuer', options: AuthorityOptions): Promise<Signer> {
  const certificate = await readOwn(directory, name);
  const path = join(directory, `${name}.key`);
  try {
    const key = privateKeyFromPem(await readKeyFile(path, options.log), path, options.passphrase);
    if (spkiSha256(createPublicKey(key)) !== certificate.spkiSha256) {
      throw broken(path, `its public key is not the one of ${name}.crt (sha256:${certificate.spkiSha256})`);
    }
    return { certificate, key };
  } catch (error) {
    throw explain(error, directory);
  }
}

async function readCertificates(path: string): Promise<Certificate[]> {
  return certificatesFromPem((await readRegularFile(path)).data, path);
}

async function readCross(directory: string, root: Certificate): Promise<string> {
  const path = join(directory, 'cross.crt');
  const [cross] = await readCertificates(path);
  if (cross?.spkiSha256 !== root.spkiSha256) throw broken(path, 'it is not of the key of root.crt');
  return pemEncode('CERTIFICATE', cross.der);
}

/** A mode that lets others read the key is said and corrected; an owner who is neither this user nor root is refused. */
async function readKeyFile(path: string, log: Logger): Promise<Buffer> {
  const { data, ...rights } = await readRegularFile(path);
  await checkRights('key', { path, ...rights }, { repair: true, log });
  return data;
}

function explain(error: unknown, directory: string): unknown {
  if (isSidelockError(error, 'SL-PEM-005')) {
    return new SidelockError('SL-CA-002', `the CA key in ${directory} cannot be decrypted`, {
      why: error.why ?? error.message,
      cause: error,
    });
  }
  if (isSidelockError(error, 'SL-CA-001')) return error;
  if (isSidelockError(error)) return broken(directory, error.message, error);
  if (nodeCode(error) === 'ENOENT') return broken(directory, 'a file of it is missing', error);
  return broken(directory, `the system says ${nodeCode(error) ?? String(error)}`, error);
}

function broken(path: string, why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-CA-001', `the certificate authority cannot be opened: ${path}`, { why, cause });
}
