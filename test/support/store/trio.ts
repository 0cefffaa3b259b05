import type { CertificateFiles } from '../../../src/store/store.ts';
import { keyPem, makeLeaf, makeRoot, type Party } from '../badcert.ts';

const root = makeRoot();

/** A new leaf with its key and root, as a store keeps them. */
export function trio(): CertificateFiles & { readonly leaf: Party } {
  const leaf = makeLeaf(root);
  return {
    leaf,
    certificate: Buffer.from(leaf.pem),
    privateKey: Buffer.from(keyPem(leaf)),
    caCertificate: Buffer.from(root.pem),
  };
}
