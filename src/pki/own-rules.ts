import type { Certificate } from './certificate.ts';
import { EXTENSION } from './certificate.ts';

/**
 * What we accept of a peer and would not show ourselves (RFC 5280 4.1.2.4, 4.2.1.3, 4.2.1.6, 4.2.1.9): other
 * implementations refuse it. One sentence, or undefined.
 */
export function ownCredentialFault(leaf: Certificate, intermediates: readonly Certificate[]): string | undefined {
  const san = leaf.extensions.find(({ oid }) => oid === EXTENSION.subjectAltName);
  if (leaf.issuer === '') return 'its issuer has an empty name';
  if (leaf.subject === '' && san?.critical !== true)
    return 'its subject is empty, so its names must be a critical extension';
  for (const { subject, keyUsage, extensions } of intermediates) {
    const constraints = extensions.find(({ oid }) => oid === EXTENSION.basicConstraints);
    if (constraints?.critical !== true) return `the basicConstraints of its intermediate ${subject} are not critical`;
    if (keyUsage === undefined) return `its intermediate ${subject} has no key usage`;
  }
  return undefined;
}
