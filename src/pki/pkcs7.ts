import type { Certificate } from './certificate.ts';
import { TAG, writeDer } from './der.ts';

/** 1.2.840.113549.1.7.2 and .1 */
const SIGNED_DATA = Buffer.from('2a864886f70d010702', 'hex');
const DATA = Buffer.from('2a864886f70d010701', 'hex');
const VERSION_1 = writeDer(TAG.integer, Buffer.from([1]));
const CONTEXT_0 = 0xa0;

/** Certificates as a SignedData that nobody signed, in DER: the "certs-only" message of RFC 5272 4.1 and RFC 7030. */
export function certsOnly(certificates: ReadonlyArray<Pick<Certificate, 'der'>>): Buffer {
  const signedData = writeDer(
    TAG.sequence,
    VERSION_1,
    writeDer(TAG.set),
    writeDer(TAG.sequence, writeDer(TAG.oid, DATA)),
    writeDer(CONTEXT_0, ...certificates.map(({ der }) => der)),
    writeDer(TAG.set),
  );
  return writeDer(TAG.sequence, writeDer(TAG.oid, SIGNED_DATA), writeDer(CONTEXT_0, signedData));
}
