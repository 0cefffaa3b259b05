import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeGeneration } from '../../src/store/generation.ts';
import { dns, keyPem, makeLeaf, makeRoot, name, type Party, type Spec, subjectAltName, uri } from './badcert.ts';

/** The texts of one identity. */
export interface Trio {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly serial: string;
}

export interface TestAuthority {
  readonly root: Party;
  /** A new leaf with a new key for `service`; good unless `spec` says otherwise. */
  issue(service?: string, spec?: Spec): Trio;
}

export function testAuthority(commonName = 'AI-Teddy-CA'): TestAuthority {
  const root = makeRoot({ subject: name(commonName) });
  let issued = 0;
  return {
    root,
    issue(service = 'orders', spec = {}) {
      const serial = (0x10000000 + ++issued).toString(16);
      const leaf = makeLeaf(root, {
        subject: name(service),
        serial: Buffer.from(serial, 'hex'),
        ...spec,
        extensions: {
          san: subjectAltName(uri(spiffeIdOf(service)), dns(`${service}.ai-teddy.local`)),
          ...spec.extensions,
        },
      });
      return { cert: leaf.pem, key: keyPem(leaf), ca: root.pem, serial };
    },
  };
}

export function spiffeIdOf(service: string): string {
  return `spiffe://ai-teddy.local/ns/default/sa/${service}`;
}

export const GUIDE_NAMES = { cert: 'cert.pem', key: 'key.pem', ca: 'ca.pem' };
export const SECRET_NAMES = { cert: 'tls.crt', key: 'tls.key', ca: 'ca.crt' };

/** As an installation script does: one file after the other, in place. */
export async function overwrite(directory: string, trio: Partial<Trio>, names = GUIDE_NAMES): Promise<void> {
  for (const part of ['cert', 'key', 'ca'] as const) {
    const text = trio[part];
    if (text === undefined) continue;
    await writeFile(join(directory, names[part]), text, { mode: 0o600 });
  }
}

/** As kubelet does: all together by one rename. */
export function swap(directory: string, { cert, key, ca }: Trio, names = GUIDE_NAMES, keyMode = 0o600): Promise<void> {
  return writeGeneration(directory, {
    [names.cert]: { data: cert, mode: 0o644 },
    [names.key]: { data: key, mode: keyMode },
    [names.ca]: { data: ca, mode: 0o644 },
  });
}

/** A plain good set again, whatever was made of the files. */
export async function restore(directory: string, trio: Trio, names = GUIDE_NAMES): Promise<void> {
  for (const file of Object.values(names)) await rm(join(directory, file), { recursive: true, force: true });
  await overwrite(directory, trio, names);
  await chmod(join(directory, names.key), 0o600);
}
