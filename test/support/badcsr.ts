import type { KeyObject } from 'node:crypto';
import { TAG, writeDer } from '../../src/pki/der.ts';
import { type Algorithm, ecdsaWith, ecKeys, name } from './badcert.ts';
import { writeOid } from './oid.ts';

/** What goes into a request; it may break any rule. */
interface CsrSpec {
  readonly version?: number;
  readonly subject?: Buffer;
  readonly keys?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly spki?: Buffer;
  /** Elements of the attributes. */
  readonly attributes?: readonly Buffer[];
  readonly algorithm?: Algorithm;
  /** Signs in the place of the key of the request. */
  readonly signer?: KeyObject;
  /** Elements after those that PKCS#10 has. */
  readonly more?: readonly Buffer[];
}

const keys = ecKeys();

/** DER of a PKCS#10 request: P-256, `CN=web`, no attributes, unless said otherwise. */
export function makeCsr(spec: CsrSpec = {}): Buffer {
  const pair = spec.keys ?? keys;
  const algorithm = spec.algorithm ?? ecdsaWith('sha256');
  const info = writeDer(
    TAG.sequence,
    writeDer(TAG.integer, Buffer.from([spec.version ?? 0])),
    spec.subject ?? name('web'),
    spec.spki ?? pair.publicKey.export({ type: 'spki', format: 'der' }),
    writeDer(0xa0, ...(spec.attributes ?? [])),
    ...(spec.more ?? []),
  );
  return sealCsr(info, algorithm.identifier, algorithm.sign(info, spec.signer ?? pair.privateKey));
}

export function sealCsr(info: Buffer, algorithm: Buffer, signature: Buffer): Buffer {
  return writeDer(TAG.sequence, info, algorithm, writeDer(TAG.bitString, Buffer.from([0]), signature));
}

/** The attribute in which a request asks for extensions (RFC 2985 5.4.2). */
export function extensionRequest(...extensions: readonly Buffer[]): Buffer {
  return writeDer(
    TAG.sequence,
    writeOid('1.2.840.113549.1.9.14'),
    writeDer(TAG.set, writeDer(TAG.sequence, ...extensions)),
  );
}
