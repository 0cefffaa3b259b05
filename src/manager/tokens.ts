import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, DAY } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import { SidelockError } from '../base/errors.ts';
import { type JoinTokenClaims, readJoinToken, writeJoinToken } from '../pki/join-token.ts';
import { privateKeyFromPem, privateKeyToPem } from '../pki/keys.ts';
import { createExclusive, readRegularFile, removeDurable } from '../store/files.ts';
import { DIRECTORY_MODE, KEY_MODE } from '../store/layout.ts';
import { readJsonFile } from './json-file.ts';
import type { ManagerMetrics } from './metrics.ts';

interface TokensOptions {
  readonly directory: string;
  /** Of the root that signs now. */
  readonly rootSha256: () => string;
  readonly address: string | (() => string);
  /** Milliseconds. */
  readonly ttlMs: number;
  /** Milliseconds. No token lives longer, whatever it says. */
  readonly maxTtlMs: number;
  readonly clock: Clock;
  readonly metrics: ManagerMetrics;
}

export interface NewToken {
  readonly service: string;
  readonly namespace: string;
  readonly type: string;
  readonly additionalSans: readonly string[];
  readonly ttlMs?: number | undefined;
}

/** What a token that was found good entitles to. */
export interface Entitlement {
  readonly claims: JoinTokenClaims;
  readonly additionalSans: readonly string[];
}

export interface TokenRecord {
  /** Names the token without being able to use it. */
  readonly id: string;
  readonly service: string;
  readonly namespace: string;
  readonly type: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly state: 'open' | 'used' | 'expired';
  readonly usedAt?: number | undefined;
  readonly usedBy?: string | undefined;
}

export interface Tokens {
  create(wanted: NewToken): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number }>;
  /** Looks at a token without using it: made by this manager and in date. @throws SL-TOK-001, SL-TOK-003 */
  check(token: string): Promise<Entitlement>;
  /**
   * Uses the token up, on disk, before anything is signed for it: a crash afterwards loses the token and never
   * yields two certificates. @throws SL-TOK-002 at every use but the first, of all there may be at once.
   */
  consume(claims: JoinTokenClaims, use: TokenUse): Promise<void>;
  list(): Promise<TokenRecord[]>;
  /** False when there is no such unused token. */
  revoke(id: string): Promise<boolean>;
}

interface TokenUse {
  readonly spkiSha256: string;
  readonly remote: string;
}

interface UsedFile extends TokenUse {
  readonly at: number;
}

/**
 * Join tokens: signed, short-lived, good for one certificate of one service. On disk lies the hash of the id,
 * never the token, so that the files cannot be turned back into tokens.
 */
export async function openTokens(options: TokensOptions): Promise<Tokens> {
  const { directory, clock, metrics, maxTtlMs } = options;
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  const key = await signingKey(join(directory, 'signing.key'));
  const recordPath = (hash: string) => join(directory, `${hash}.json`);
  const usedPath = (hash: string) => join(directory, `${hash}.used`);

  const recordOf = async (hash: string, claims: StoredToken): Promise<TokenRecord> => {
    const used = await readJsonFile<UsedFile>(usedPath(hash));
    const { sub, ns, type, iat, exp } = claims;
    const state = used !== undefined ? 'used' : exp <= clock.now() ? 'expired' : 'open';
    const usage = used === undefined ? {} : { usedAt: used.at, usedBy: used.remote };
    return { id: shortId(hash), service: sub, namespace: ns, type, issuedAt: iat, expiresAt: exp, state, ...usage };
  };
  const hashes = async () =>
    (await readdir(directory)).filter((file) => /^[0-9a-f]{64}\.json$/.test(file)).map((file) => file.slice(0, 64));

  const over: string[] = [];
  for (const hash of await hashes()) {
    const claims = await readJsonFile<StoredToken>(recordPath(hash));
    if (claims === undefined || claims.exp > clock.now() - KEPT_MS) continue;
    over.push(hash);
  }
  // In this order: a record without its note of use would be that of a token which was never used.
  await removeDurable(over.map(recordPath));
  await removeDurable(over.map(usedPath));

  return {
    async create({ service, namespace, type, additionalSans, ttlMs = options.ttlMs }) {
      const now = clock.now();
      const claims: JoinTokenClaims = {
        v: 1,
        id: randomBytes(16).toString('hex'),
        sub: service,
        ns: namespace,
        type,
        iat: now,
        exp: now + Math.min(ttlMs, maxTtlMs),
        root: options.rootSha256(),
        addr: typeof options.address === 'string' ? options.address : options.address(),
      };
      const hash = hashOf(claims.id);
      const stored = { sub: service, ns: namespace, type, additionalSans, iat: claims.iat, exp: claims.exp };
      await createExclusive(recordPath(hash), JSON.stringify(stored satisfies StoredToken), KEY_MODE);
      metrics.token('created').value++;
      return { token: writeJoinToken(claims, key), id: shortId(hash), expiresAt: claims.exp };
    },

    async check(token) {
      const read = readJoinToken(token);
      if (!read.verifiedBy(key)) throw invalid('its signature is not of this manager');
      const { claims } = read;
      const now = clock.now();
      if (claims.exp - claims.iat > maxTtlMs || claims.iat > now + CLOCK_STEP_MS) {
        throw invalid('its dates are not ones this manager gives');
      }
      if (claims.exp <= now) {
        throw new SidelockError('SL-TOK-003', 'the join token has expired', {
          why: `it was good until ${new Date(claims.exp).toISOString()}, the clock of the manager says ${new Date(now).toISOString()}`,
          fix: tokenCommand({ service: claims.sub, namespace: claims.ns, type: claims.type }),
        });
      }
      const record = await readJsonFile<StoredToken>(recordPath(hashOf(claims.id)));
      if (record === undefined) throw invalid('this manager has no record of it');
      return { claims, additionalSans: record.additionalSans };
    },

    async consume(claims, use) {
      const path = usedPath(hashOf(claims.id));
      const record: UsedFile = { at: clock.now(), ...use };
      if (await createExclusive(path, JSON.stringify(record), KEY_MODE)) {
        metrics.token('used').value++;
        return;
      }
      const first = await readJsonFile<UsedFile>(path);
      const when = first === undefined ? '' : ` ${new Date(first.at).toISOString()} by ${first.remote}`;
      throw new SidelockError('SL-TOK-002', `the join token was already used${when}`, {
        why: 'a token works once; if you did not use it, somebody else did',
        fix: tokenCommand({ service: claims.sub, namespace: claims.ns, type: claims.type }),
      });
    },

    async list() {
      const records = await Promise.all(
        (await hashes()).map(async (hash) => {
          const claims = await readJsonFile<StoredToken>(recordPath(hash));
          return claims === undefined ? [] : [await recordOf(hash, claims)];
        }),
      );
      return records.flat().sort((a, b) => a.issuedAt - b.issuedAt);
    },

    async revoke(id) {
      const hash = (await hashes()).find((candidate) => shortId(candidate) === id);
      if (hash === undefined) return false;
      const record: UsedFile = { at: clock.now(), spkiSha256: '', remote: 'revoked' };
      const revoked = await createExclusive(usedPath(hash), JSON.stringify(record), KEY_MODE);
      if (revoked) metrics.token('revoked').value++;
      return revoked;
    },
  };
}

/** What a record keeps of the claims (all but the id and what every token shares), and what the token leaves out. */
interface StoredToken extends Pick<JoinTokenClaims, 'sub' | 'ns' | 'type' | 'iat' | 'exp'> {
  readonly additionalSans: readonly string[];
}

/** How long the list shows a token after its end. Without its record a token is not valid, so forgetting is safe. */
const KEPT_MS = 7 * DAY;

/** A clock that was set back a little must not make fresh tokens invalid. */
const CLOCK_STEP_MS = 120_000;

function hashOf(id: string): string {
  return createHash('sha256').update(id).digest('hex');
}

function shortId(hash: string): string {
  return hash.slice(0, 16);
}

function invalid(why: string): SidelockError {
  return new SidelockError('SL-TOK-001', 'the join token is not valid', { why });
}

async function signingKey(path: string): Promise<KeyObject> {
  const fresh = privateKeyToPem(generateKeyPairSync('ed25519').privateKey);
  await createExclusive(path, fresh, KEY_MODE);
  const { data } = await readRegularFile(path);
  return privateKeyFromPem(data, path);
}
