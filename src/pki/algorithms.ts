import type { DerNode } from './der.ts';
import { readBitString, readDer, readInteger, readOid, sequenceOf, TAG } from './der.ts';
import type { KeyType } from './key-types.ts';

/** Signature algorithms by OID (RFC 3279, 4055, 5758, 8410). */
const SIGNATURES: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'md5WithRSAEncryption',
  '1.2.840.113549.1.1.5': 'sha1WithRSAEncryption',
  '1.2.840.113549.1.1.11': 'sha256WithRSAEncryption',
  '1.2.840.113549.1.1.12': 'sha384WithRSAEncryption',
  '1.2.840.113549.1.1.13': 'sha512WithRSAEncryption',
  '1.2.840.10045.4.1': 'ecdsa-with-SHA1',
  '1.2.840.10045.4.3.2': 'ecdsa-with-SHA256',
  '1.2.840.10045.4.3.3': 'ecdsa-with-SHA384',
  '1.2.840.10045.4.3.4': 'ecdsa-with-SHA512',
  '1.3.101.112': 'Ed25519',
};

const RSASSA_PSS = '1.2.840.113549.1.1.10';

const PSS_HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'SHA1',
  '2.16.840.1.101.3.4.2.1': 'SHA256',
  '2.16.840.1.101.3.4.2.2': 'SHA384',
  '2.16.840.1.101.3.4.2.3': 'SHA512',
};

const RSA = '1.2.840.113549.1.1.1';
const EC = '1.2.840.10045.2.1';
const ED25519 = '1.3.101.112';

const CURVES: Readonly<Record<string, { readonly name: string; readonly keyType?: KeyType; readonly size?: number }>> =
  {
    '1.2.840.10045.3.1.7': { name: 'P-256', keyType: 'ecdsa-p256', size: 32 },
    '1.3.132.0.34': { name: 'P-384', keyType: 'ecdsa-p384', size: 48 },
    '1.3.132.0.35': { name: 'P-521' },
    '1.3.132.0.33': { name: 'P-224' },
    '1.3.132.0.10': { name: 'secp256k1' },
    '1.2.840.10045.3.1.1': { name: 'P-192' },
  };

const RSA_TYPES: Readonly<Record<number, KeyType>> = { 2048: 'rsa-2048', 3072: 'rsa-3072', 4096: 'rsa-4096' };

/** The usual name of an AlgorithmIdentifier of a signature, `rsassaPss-SHA256` for PSS, else its OID. @throws DerError */
export function signatureAlgorithmName(algorithm: DerNode): string {
  const [id, parameters] = sequenceOf(algorithm, 'signatureAlgorithm');
  const oid = readOid(id, 'signatureAlgorithm');
  if (oid !== RSASSA_PSS) return SIGNATURES[oid] ?? oid;
  // RFC 4055 3.1: the hash is [0], and SHA-1 when it is left out.
  const hash = parameters?.children.find((part) => part.tag === 0xa0)?.children[0];
  const hashOid = hash === undefined ? '1.3.14.3.2.26' : readOid(sequenceOf(hash, 'hashAlgorithm')[0], 'hashAlgorithm');
  return `rsassaPss-${PSS_HASHES[hashOid] ?? hashOid}`;
}

interface KeyKind {
  readonly keyType: KeyType | undefined;
  readonly keyDescription: string;
}

/** What key a SubjectPublicKeyInfo holds; `keyType` only for those that keys.ts allows. @throws DerError */
export function spkiKind(spki: Buffer): KeyKind {
  const [algorithm, subjectPublicKey] = sequenceOf(readDer(spki), 'subjectPublicKeyInfo');
  const [id, parameters] = sequenceOf(algorithm, 'key algorithm');
  const oid = readOid(id, 'key algorithm');
  const { bits } = readBitString(subjectPublicKey, 'subjectPublicKey');
  if (oid === RSA) return rsaKind(bits);
  if (oid === EC) return ecKind(parameters, bits);
  if (oid === ED25519) return { keyType: bits.length === 32 ? 'ed25519' : undefined, keyDescription: 'Ed25519' };
  return { keyType: undefined, keyDescription: `key of algorithm ${oid}` };
}

function rsaKind(key: Buffer): KeyKind {
  const [modulus, exponent] = sequenceOf(readDer(key), 'RSAPublicKey');
  const octets = readInteger(modulus, 'modulus');
  const bits = BigInt(`0x${octets.toString('hex')}`).toString(2).length;
  const e = readInteger(exponent, 'publicExponent').toString('hex');
  const faults = [
    ...(e === '010001' ? [] : [`e=0x${e}`]),
    ...(octets.readInt8(0) < 0 ? ['a negative modulus'] : []),
    ...(((octets.at(-1) ?? 0) & 1) === 1 ? [] : ['an even modulus']),
  ];
  const keyDescription = [`RSA ${bits}`, ...faults].join(' with ');
  return { keyType: faults.length === 0 ? RSA_TYPES[bits] : undefined, keyDescription };
}

function ecKind(parameters: DerNode | undefined, point: Buffer): KeyKind {
  if (parameters?.tag !== TAG.oid) return { keyType: undefined, keyDescription: 'EC with explicit parameters' };
  const oid = readOid(parameters, 'namedCurve');
  const { name, keyType, size = 0 } = CURVES[oid] ?? { name: oid };
  // RFC 5480 2.2: 04 and two coordinates, or 02/03 and one. A lone 00 is the point at infinity, which OpenSSL accepts.
  const whole = point[0] === 0x04 && point.length === 1 + 2 * size;
  const compressed = (point[0] === 0x02 || point[0] === 0x03) && point.length === 1 + size;
  if (keyType === undefined || whole || compressed) return { keyType, keyDescription: `EC ${name}` };
  return { keyType: undefined, keyDescription: `EC ${name} with a public point that is none` };
}
