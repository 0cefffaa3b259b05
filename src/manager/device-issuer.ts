import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { createIssuer, type Signer } from '../pki/issue.ts';
import { generateKey, privateKeyFromPem, privateKeyToPem, spkiSha256 } from '../pki/keys.ts';
import { pemEncode } from '../pki/pem.ts';
import { placeDirectory, readRegularFile, writeNewFile } from '../store/files.ts';
import { CERT_MODE, KEY_MODE } from '../store/layout.ts';
import type { Authority } from './ca.ts';
import { rootSignerOf } from './root-offline.ts';

export interface DeviceIssuerOptions {
  readonly authority: Authority;
  readonly stateDirectory: string;
  readonly passphrase: string | undefined;
  readonly validityYears: number;
  readonly trustDomain: string;
  readonly dnsDomains: readonly string[];
  readonly clock: Clock;
}

/** Where the guide's devices have their names, whatever else is allowed. */
export const DEVICE_DOMAIN = 'devices.ai-teddy.com';
const TEMPORARY = 'ca.new-devices-';

/**
 * The CA as devices see it: their certificates come from an EC P-256 issuer of their own under the root, made when the
 * first is asked for, because small chips verify RSA chains slowly and a stolen issuer must not be that of services.
 * @throws SidelockError SL-CA-001 damaged, SL-CA-002 passphrase, SL-FS-003
 */
export async function openDeviceIssuer(options: DeviceIssuerOptions): Promise<Authority> {
  const { authority, stateDirectory } = options;
  const directory = deviceDirectory(stateDirectory, authority.number);
  const signer = (await read(directory, options)) ?? (await create(directory, options));
  if (!signer.certificate.x509.verify(authority.root.x509.publicKey))
    throw broken(directory, 'the root did not sign it');
  return Object.freeze({
    ...authority,
    signer,
    // In place of the issuer of services; what follows that one follows this one.
    chainPem: pemEncode('CERTIFICATE', signer.certificate.der) + authority.chainPem.slice(authority.issuerPem.length),
    ownKeys: new Set([...authority.ownKeys, signer.certificate.spkiSha256]),
  });
}

/** Where the issuer of devices under the root of that number lies. */
export function deviceDirectory(stateDirectory: string, number: number): string {
  return join(stateDirectory, number === 1 ? 'devices' : `devices-${number}`);
}

async function create(directory: string, options: DeviceIssuerOptions): Promise<Signer> {
  const { authority, stateDirectory, passphrase, trustDomain, dnsDomains, validityYears, clock } = options;
  const key = await generateKey('ecdsa-p256');
  const certificate = await createIssuer({
    name: `${authority.name} Devices`,
    issuer: rootSignerOf(authority, 'the issuer of devices cannot be made'),
    publicKey: createPublicKey(key),
    now: clock.now(),
    validityYears,
    trustDomain,
    dnsDomains: [DEVICE_DOMAIN, ...dnsDomains],
  });
  const temporary = await mkdtemp(join(stateDirectory, TEMPORARY));
  try {
    await writeNewFile(join(temporary, 'issuer.crt'), pemEncode('CERTIFICATE', certificate.der), CERT_MODE);
    await writeNewFile(join(temporary, 'issuer.key'), privateKeyToPem(key, passphrase), KEY_MODE);
    await placeDirectory(temporary, directory);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return { certificate, key };
}

async function read(directory: string, { passphrase }: DeviceIssuerOptions): Promise<Signer | undefined> {
  const [certPath, keyPath] = [join(directory, 'issuer.crt'), join(directory, 'issuer.key')];
  try {
    const [certificate] = certificatesFromPem((await readRegularFile(certPath)).data, certPath);
    const key = privateKeyFromPem((await readRegularFile(keyPath)).data, keyPath, passphrase);
    if (certificate === undefined || spkiSha256(key) !== certificate.spkiSha256)
      throw broken(directory, 'key and certificate differ');
    return { certificate, key };
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function broken(directory: string, why: string): SidelockError {
  return new SidelockError('SL-CA-001', `the issuer of devices in ${directory} cannot be used`, { why });
}
