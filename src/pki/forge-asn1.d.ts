/** The ASN.1 part of node-forge alone: a seventh of the start-up time of the whole. */
declare module 'node-forge/lib/asn1.js' {
  import type { asn1 } from 'node-forge';

  const part: typeof asn1;
  export = part;
}
