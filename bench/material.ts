import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DAY, systemClock } from '../src/base/clock.ts';
import type { Certificate } from '../src/pki/certificate.ts';
import { createRoot, issueLeaf, type Signer } from '../src/pki/issue.ts';
import { generateKey, privateKeyToPem } from '../src/pki/keys.ts';
import { dnsNamesFor, serviceSpiffeId } from '../src/pki/names.ts';
import { pemEncode } from '../src/pki/pem.ts';

export interface LeafFiles {
  /** cert.pem, key.pem and ca.pem, as the sidecar's source 'files' wants them. */
  readonly directory: string;
  readonly cert: string;
  readonly key: string;
  /** Certificate and key in one file, as haproxy wants them. */
  readonly combined: string;
  readonly spiffeId: string;
}

export interface Material {
  readonly root: Signer;
  readonly ca: string;
  readonly server: LeafFiles;
  readonly client: LeafFiles;
  /** A DNS name of the server's leaf. */
  readonly serverName: string;
}

const NAMESPACE = 'default';
const TRUST_DOMAIN = 'ai-teddy.local';

/** A root of RSA 4096 and two leaves of RSA 2048, as the manager issues them, in files under `directory`. */
export async function writeMaterial(directory: string): Promise<Material> {
  await mkdir(directory, { recursive: true });
  const root = await createRootSigner();
  const ca = join(directory, 'ca.pem');
  await writeFile(ca, pemOf(root.certificate));
  const server = await writeLeaf(directory, root, 'orders');
  const client = await writeLeaf(directory, root, 'web');
  return { root, ca, server, client, serverName: 'orders' };
}

async function createRootSigner(): Promise<Signer> {
  const key = await generateKey('rsa-4096');
  return { key, certificate: await createRoot({ name: 'bench', key, now: systemClock.now(), validityYears: 1 }) };
}

/** A leaf with the names the manager gives a service. */
export async function issueFor(signer: Signer, service: string, publicKey: KeyObject): Promise<Certificate> {
  const names = { service, namespace: NAMESPACE, trustDomain: TRUST_DOMAIN };
  return issueLeaf({
    signer,
    publicKey,
    spiffeId: serviceSpiffeId(names),
    sans: dnsNamesFor(names).map((value) => ({ type: 'dns', value })),
    validityMs: 90 * DAY,
    now: systemClock.now(),
  });
}

export function pemOf(certificate: Certificate): string {
  return pemEncode('CERTIFICATE', certificate.der);
}

async function writeLeaf(parent: string, root: Signer, service: string): Promise<LeafFiles> {
  const key = await generateKey('rsa-2048');
  const certificate = await issueFor(root, service, createPublicKey(key));
  const directory = join(parent, service);
  const files = {
    cert: join(directory, 'cert.pem'),
    key: join(directory, 'key.pem'),
    combined: join(parent, `${service}-combined.pem`),
  };
  const keyPem = privateKeyToPem(key);
  await mkdir(directory, { mode: 0o700 });
  await writeFile(files.cert, pemOf(certificate));
  await writeFile(files.key, keyPem, { mode: 0o600 });
  await writeFile(files.combined, pemOf(certificate) + keyPem, { mode: 0o600 });
  await writeFile(join(directory, 'ca.pem'), pemOf(root.certificate));
  return {
    directory,
    ...files,
    spiffeId: serviceSpiffeId({ service, namespace: NAMESPACE, trustDomain: TRUST_DOMAIN }),
  };
}
