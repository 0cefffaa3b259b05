import { type KeyObject, sign, verify } from 'node:crypto';
import { SidelockError } from '../base/errors.ts';

/** What a join token says. Times are milliseconds since the epoch. */
export interface JoinTokenClaims {
  readonly v: 1;
  /** 128 random bits, hex. */
  readonly id: string;
  readonly sub: string;
  readonly ns: string;
  readonly type: string;
  readonly iat: number;
  readonly exp: number;
  /** SHA-256 of the DER of the manager's root, hex: pins the first contact. */
  readonly root: string;
  /** https address of the manager. */
  readonly addr: string;
}

export interface JoinToken {
  readonly claims: JoinTokenClaims;
  /** True when `key` made the signature over exactly these bytes. */
  verifiedBy(key: KeyObject): boolean;
}

const PREFIX = 'slk_';
const MAX_LENGTH = 2048;
const SHAPE = /^slk_([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;

/** `slk_` payload `.` signature, both base64url. There is one algorithm, Ed25519, so the token names none. */
export function writeJoinToken(claims: JoinTokenClaims, key: KeyObject): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${PREFIX}${payload}.${sign(null, Buffer.from(payload), key).toString('base64url')}`;
}

/**
 * Takes a token apart without judging its signature.
 * @throws SidelockError SL-TOK-001 when it is cut, changed in shape, or no token at all.
 */
export function readJoinToken(text: string): JoinToken {
  const match = text.length <= MAX_LENGTH ? SHAPE.exec(text) : null;
  const [payload, signatureText] = [match?.[1], match?.[2]];
  if (payload === undefined || signatureText === undefined) throw notAToken('it is cut short or not a join token');
  const signature = Buffer.from(signatureText, 'base64url');
  if (signature.toString('base64url') !== signatureText) throw notAToken('its signature is not canonical base64url');
  const claims = claimsOf(Buffer.from(payload, 'base64url').toString('utf8'));
  return { claims, verifiedBy: (key) => verify(null, Buffer.from(payload), key, signature) };
}

function claimsOf(json: string): JoinTokenClaims {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw notAToken('its payload is not JSON', cause);
  }
  if (!isClaims(value)) throw notAToken('its payload lacks a field or has one of the wrong type');
  return Object.freeze(value);
}

function isClaims(value: unknown): value is JoinTokenClaims {
  if (typeof value !== 'object' || value === null) return false;
  const claims = value as Readonly<Record<string, unknown>>;
  return (
    Object.keys(claims).length === 9 &&
    claims['v'] === 1 &&
    isHex(claims['id'], 32) &&
    isHex(claims['root'], 64) &&
    ['sub', 'ns', 'type', 'addr'].every((field) => typeof claims[field] === 'string') &&
    ['iat', 'exp'].every((field) => Number.isSafeInteger(claims[field]))
  );
}

function isHex(value: unknown, length: number): boolean {
  return typeof value === 'string' && value.length === length && /^[0-9a-f]+$/.test(value);
}

function notAToken(why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-TOK-001', 'the join token is not valid', { why, cause });
}
