import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { TAG, writeDer } from '../../src/pki/der.ts';
import { writeOid } from './oid.ts';

/** A certificate and its private key. The certificate may break any rule: nothing here refuses to build it. */
export interface Party {
  readonly der: Buffer;
  readonly pem: string;
  readonly key: KeyObject;
  readonly subject: Buffer;
  readonly keyId: Buffer;
}

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** What goes into a certificate. Extensions are whole DER elements by a name of the caller's choice; undefined drops one. */
export interface Spec {
  readonly version?: number | Buffer;
  readonly serial?: Buffer;
  readonly subject?: Buffer;
  readonly issuerName?: Buffer;
  readonly notBefore?: number | Buffer;
  readonly notAfter?: number | Buffer;
  readonly keys?: Pair;
  readonly spki?: Buffer;
  readonly algorithm?: Algorithm;
  /** The AlgorithmIdentifier inside the signed part, where it shall differ. */
  readonly innerAlgorithm?: Buffer;
  readonly signature?: (good: Buffer) => Buffer;
  readonly extensions?: Readonly<Record<string, Buffer | undefined>>;
}

export const DAY = 86_400_000;
export const TRUST_DOMAIN = 'ai-teddy.local';
export const OID = {
  bc: '2.5.29.19',
  ku: '2.5.29.15',
  eku: '2.5.29.37',
  san: '2.5.29.17',
  ski: '2.5.29.14',
  aki: '2.5.29.35',
  nc: '2.5.29.30',
} as const;
export const PURPOSE = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  any: '2.5.29.37.0',
} as const;

/** Drops every extension that the templates set. */
export const noExtensions: Readonly<Record<string, undefined>> = {
  ski: undefined,
  aki: undefined,
  bc: undefined,
  ku: undefined,
  eku: undefined,
  san: undefined,
};

/** A self-signed root with what ours has. */
export function makeRoot(spec: Spec = {}): Party {
  return makeCa(undefined, { subject: name('AI-Teddy-CA'), ...spec });
}

/** A CA under `issuer`. */
export function makeCa(issuer: Party | undefined, spec: Spec = {}): Party {
  return build(issuer, {
    subject: name(`CA ${randomBytes(4).toString('hex')}`),
    notBefore: Date.now() - 30 * DAY,
    notAfter: Date.now() + 3650 * DAY,
    ...spec,
    extensions: { bc: basicConstraints(true), ku: keyUsage('keyCertSign', 'cRLSign'), ...spec.extensions },
  });
}

/** A leaf for `spiffe://ai-teddy.local/ns/default/sa/web`, good in every respect. */
export function makeLeaf(issuer: Party, spec: Spec = {}): Party {
  return build(issuer, {
    subject: name('web'),
    ...spec,
    extensions: {
      bc: basicConstraints(false),
      ku: keyUsage('digitalSignature'),
      eku: extKeyUsage(PURPOSE.server, PURPOSE.client),
      san: subjectAltName(uri('spiffe://ai-teddy.local/ns/default/sa/web'), dns('web.ai-teddy.local')),
      ...spec.extensions,
    },
  });
}

function build(issuer: Party | undefined, spec: Spec): Party {
  const keys = spec.keys ?? ecKeys();
  const spki = spec.spki ?? keys.publicKey.export({ type: 'spki', format: 'der' });
  const keyId = createHash('sha1').update(spki).digest();
  const subject = spec.subject ?? name('x');
  const signingKey = issuer?.key ?? keys.privateKey;
  const algorithm = spec.algorithm ?? defaultAlgorithm(signingKey);
  const extensions = {
    ski: extension(OID.ski, writeDer(TAG.octetString, keyId)),
    aki: extension(OID.aki, writeDer(TAG.sequence, writeDer(0x80, issuer?.keyId ?? keyId))),
    ...spec.extensions,
  };
  const list = Object.values(extensions).filter((e) => e !== undefined);
  const now = Date.now();
  const tbs = writeDer(
    TAG.sequence,
    versionField(spec.version ?? 2),
    writeDer(TAG.integer, spec.serial ?? Buffer.concat([Buffer.from([0x11]), randomBytes(15)])),
    spec.innerAlgorithm ?? algorithm.identifier,
    spec.issuerName ?? issuer?.subject ?? subject,
    writeDer(TAG.sequence, time(spec.notBefore ?? now - 120_000), time(spec.notAfter ?? now + 90 * DAY)),
    subject,
    spki,
    list.length === 0 ? Buffer.alloc(0) : writeDer(0xa3, writeDer(TAG.sequence, ...list)),
  );
  const signature = algorithm.sign(tbs, signingKey);
  return party(tbs, algorithm.identifier, spec.signature?.(signature) ?? signature, {
    key: keys.privateKey,
    subject,
    keyId,
  });
}

function party(tbs: Buffer, algorithm: Buffer, signature: Buffer, rest: Omit<Party, 'der' | 'pem'>): Party {
  const der = writeDer(TAG.sequence, tbs, algorithm, writeDer(TAG.bitString, Buffer.from([0]), signature));
  return { der, pem: toPem(der), ...rest };
}

export function toPem(der: Buffer, label = 'CERTIFICATE'): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

export function keyPem(party: Party): string {
  return party.key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export function ecKeys(namedCurve = 'P-256', paramEncoding: 'named' | 'explicit' = 'named'): Pair {
  return generateKeyPairSync('ec', { namedCurve, paramEncoding });
}

export function rsaKeys(modulusLength: number, publicExponent = 65_537): Pair {
  return generateKeyPairSync('rsa', { modulusLength, publicExponent });
}

/** An SPKI with a random odd modulus: for sizes whose generation takes too long. No private key belongs to it. */
export function rsaSpki(bits: number): Buffer {
  const modulus = randomBytes(bits / 8);
  modulus[0] = 0xc1;
  modulus[modulus.length - 1] = 0x01;
  const key = writeDer(
    TAG.sequence,
    writeDer(TAG.integer, Buffer.from([0]), modulus),
    writeDer(TAG.integer, Buffer.from([1, 0, 1])),
  );
  const algorithm = writeDer(TAG.sequence, writeOid('1.2.840.113549.1.1.1'), writeDer(TAG.null));
  return writeDer(TAG.sequence, algorithm, writeDer(TAG.bitString, Buffer.from([0]), key));
}

export interface Algorithm {
  readonly identifier: Buffer;
  sign(data: Buffer, key: KeyObject): Buffer;
}

const RSA_OIDS = { md5: '1.1.4', sha1: '1.1.5', sha256: '1.1.11', sha384: '1.1.12', sha512: '1.1.13' } as const;
const EC_OIDS = { sha1: '1.2.840.10045.4.1', sha256: '1.2.840.10045.4.3.2', sha384: '1.2.840.10045.4.3.3' } as const;

export function rsaWith(hash: keyof typeof RSA_OIDS): Algorithm {
  const oid = writeOid(`1.2.840.113549.${RSA_OIDS[hash]}`);
  return { identifier: writeDer(TAG.sequence, oid, writeDer(TAG.null)), sign: (data, key) => sign(hash, data, key) };
}

export function ecdsaWith(hash: keyof typeof EC_OIDS): Algorithm {
  return { identifier: writeDer(TAG.sequence, writeOid(EC_OIDS[hash])), sign: (data, key) => sign(hash, data, key) };
}

/** RSASSA-PSS with SHA-256, MGF1 of the same and a salt of 32. */
export function rsaPss(): Algorithm {
  const sha256 = writeDer(TAG.sequence, writeOid('2.16.840.1.101.3.4.2.1'), writeDer(TAG.null));
  const parameters = writeDer(
    TAG.sequence,
    writeDer(0xa0, sha256),
    writeDer(0xa1, writeDer(TAG.sequence, writeOid('1.2.840.113549.1.1.8'), sha256)),
    writeDer(0xa2, writeDer(TAG.integer, Buffer.from([32]))),
  );
  return {
    identifier: writeDer(TAG.sequence, writeOid('1.2.840.113549.1.1.10'), parameters),
    sign: (data, key) => sign('sha256', data, { key, padding: 6, saltLength: 32 }),
  };
}

function defaultAlgorithm(key: KeyObject): Algorithm {
  if (key.asymmetricKeyType === 'rsa') return rsaWith('sha256');
  if (key.asymmetricKeyType === 'ec') return ecdsaWith('sha256');
  const oid = writeOid(key.asymmetricKeyType === 'ed448' ? '1.3.101.113' : '1.3.101.112');
  return { identifier: writeDer(TAG.sequence, oid), sign: (data, k) => sign(null, data, k) };
}

export function name(...commonNames: readonly string[]): Buffer {
  return writeDer(
    TAG.sequence,
    ...commonNames.map((cn) =>
      writeDer(TAG.set, writeDer(TAG.sequence, writeOid('2.5.4.3'), writeDer(TAG.utf8String, Buffer.from(cn)))),
    ),
  );
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 4.1.2.5). */
function time(value: number | Buffer): Buffer {
  if (Buffer.isBuffer(value)) return value;
  const text = `${new Date(value).toISOString().replace(/[-:T]|\.\d+/g, '')}`;
  return Number(text.slice(0, 4)) < 2050
    ? writeDer(TAG.utcTime, Buffer.from(text.slice(2)))
    : writeDer(TAG.generalizedTime, Buffer.from(text));
}

function versionField(version: number | Buffer): Buffer {
  if (Buffer.isBuffer(version)) return version;
  return version === 0 ? Buffer.alloc(0) : writeDer(0xa0, writeDer(TAG.integer, Buffer.from([version])));
}

export function extension(oid: string, value: Buffer, critical = false): Buffer {
  const flag = critical ? writeDer(TAG.boolean, Buffer.from([0xff])) : Buffer.alloc(0);
  return writeDer(TAG.sequence, writeOid(oid), flag, writeDer(TAG.octetString, value));
}

export function basicConstraints(isCa: boolean, pathLength?: number, critical = true): Buffer {
  const parts = [
    ...(isCa ? [writeDer(TAG.boolean, Buffer.from([0xff]))] : []),
    ...(pathLength === undefined ? [] : [writeDer(TAG.integer, Buffer.from([pathLength]))]),
  ];
  return extension(OID.bc, writeDer(TAG.sequence, ...parts), critical);
}

const USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
];

export function keyUsage(...usages: readonly string[]): Buffer {
  const bits = usages.reduce((sum, usage) => sum | (0x80 >> USAGES.indexOf(usage)), 0);
  const unused = bits === 0 ? 0 : Math.log2(bits & -bits);
  const content = bits === 0 ? [0] : [unused, bits];
  return extension(OID.ku, writeDer(TAG.bitString, Buffer.from(content)), true);
}

export function extKeyUsage(...purposes: readonly string[]): Buffer {
  return extension(OID.eku, writeDer(TAG.sequence, ...purposes.map(writeOid)));
}

export function subjectAltName(...names: readonly Buffer[]): Buffer {
  return extension(OID.san, writeDer(TAG.sequence, ...names));
}

/** GeneralNames; text is latin1 so that any octet can be written. */
export const dns = (text: string): Buffer => writeDer(0x82, Buffer.from(text, 'latin1'));
export const uri = (text: string): Buffer => writeDer(0x86, Buffer.from(text, 'latin1'));
export const email = (text: string): Buffer => writeDer(0x81, Buffer.from(text, 'latin1'));
export const ip = (...octets: readonly number[]): Buffer => writeDer(0x87, Buffer.from(octets));

interface Subtrees {
  readonly permitted?: readonly Buffer[];
  readonly excluded?: readonly Buffer[];
}

export function nameConstraints({ permitted, excluded }: Subtrees, critical = true): Buffer {
  const subtrees = (tag: number, names: readonly Buffer[] | undefined) =>
    names === undefined ? Buffer.alloc(0) : writeDer(tag, ...names.map((n) => writeDer(TAG.sequence, n)));
  return extension(OID.nc, writeDer(TAG.sequence, subtrees(0xa0, permitted), subtrees(0xa1, excluded)), critical);
}
