import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createMetrics } from '../../../src/base/metrics.ts';
import { createManagerMetrics } from '../../../src/manager/metrics.ts';
import { openTokens, type Tokens } from '../../../src/manager/tokens.ts';
import { type JoinTokenClaims, readJoinToken, writeJoinToken } from '../../../src/pki/join-token.ts';
import { privateKeyFromPem } from '../../../src/pki/keys.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';

const MINUTE = 60_000;
const use = { spkiSha256: 'aa', remote: '10.0.0.5' };

async function open(directory: string, clock: FakeClock): Promise<Tokens> {
  return openTokens({
    directory,
    rootSha256: () => 'ab'.repeat(32),
    address: 'https://manager:9443',
    ttlMs: 10 * MINUTE,
    maxTtlMs: 60 * MINUTE,
    clock,
    metrics: createManagerMetrics(createMetrics(), 'test'),
  });
}

const wanted = { service: 'orders', namespace: 'shop', type: 'api_service', additionalSans: ['orders.example'] };

async function signingKey(directory: string): Promise<KeyObject> {
  return privateKeyFromPem(await readFile(join(directory, 'signing.key')), 'signing.key');
}

t.test('a token says who it is for, which root to expect and where', async (t) => {
  const clock = fakeClock();
  const tokens = await open(t.testdir(), clock);
  const { token, expiresAt } = await tokens.create(wanted);
  t.match(token, /^slk_[\w-]+\.[\w-]{86}$/);
  const { claims, additionalSans } = await tokens.check(token);
  t.match(claims, { sub: 'orders', ns: 'shop', root: 'ab'.repeat(32), addr: 'https://manager:9443', exp: expiresAt });
  t.same(additionalSans, ['orders.example']);
  t.equal(expiresAt, clock.now() + 10 * MINUTE);
});

t.test('M20 one use of a hundred at once gets through, and a restart remembers it', async (t) => {
  const directory = t.testdir();
  const clock = fakeClock();
  const tokens = await open(directory, clock);
  const { claims } = await tokens.check((await tokens.create(wanted)).token);
  const uses = await Promise.allSettled(Array.from({ length: 100 }, () => tokens.consume(claims, use)));
  t.equal(uses.filter(({ status }) => status === 'fulfilled').length, 1);
  const again = await open(directory, clock);
  await t.rejects(again.consume(claims, { ...use, remote: '10.0.0.6' }), {
    code: 'SL-TOK-002',
    message: `the join token was already used ${new Date(clock.now()).toISOString()} by 10.0.0.5`,
  });
});

t.test('M21 the service is inside the signed part', async (t) => {
  const directory = t.testdir();
  const tokens = await open(directory, fakeClock());
  const { token } = await tokens.create(wanted);
  const { claims } = readJoinToken(token);
  const [, signature = ''] = token.split('.');
  const payload = Buffer.from(JSON.stringify({ ...claims, sub: 'billing' })).toString('base64url');
  await t.rejects(tokens.check(`slk_${payload}.${signature}`), { code: 'SL-TOK-001', why: /signature/ });
});

t.test('M22 expired a second ago', async (t) => {
  const clock = fakeClock();
  const tokens = await open(t.testdir(), clock);
  const { token } = await tokens.create(wanted);
  clock.jump(10 * MINUTE - 1);
  await tokens.check(token);
  clock.jump(1001);
  await t.rejects(tokens.check(token), { code: 'SL-TOK-003', why: /good until 2026-11-24T00:10:00.000Z/ });
});

t.test('M22 a ttl above the limit is cut to it', async (t) => {
  const clock = fakeClock();
  const tokens = await open(t.testdir(), clock);
  const { expiresAt } = await tokens.create({ ...wanted, ttlMs: 24 * 60 * MINUTE });
  t.equal(expiresAt, clock.now() + 60 * MINUTE);
});

t.test('M22 dates this manager does not give are refused even under its own key', async (t) => {
  const directory = t.testdir();
  const clock = fakeClock();
  const tokens = await open(directory, clock);
  const { claims } = readJoinToken((await tokens.create(wanted)).token);
  const key = await signingKey(directory);
  const now = clock.now();
  const changed: Readonly<Record<string, Partial<JoinTokenClaims>>> = {
    'not yet valid': { iat: now + 5 * MINUTE, exp: now + 15 * MINUTE },
    'end far in the future': { exp: now + 365 * 24 * 60 * MINUTE },
    'unknown id': { id: '00'.repeat(16) },
  };
  for (const [what, change] of Object.entries(changed)) {
    await t.rejects(tokens.check(writeJoinToken({ ...claims, ...change }, key)), { code: 'SL-TOK-001' }, what);
  }
});

t.test('M22 forged, cut, and of another algorithm or shape', async (t) => {
  const directory = t.testdir();
  const tokens = await open(directory, fakeClock());
  const { token } = await tokens.create(wanted);
  const { claims } = readJoinToken(token);
  const stranger = generateKeyPairSync('ed25519').privateKey;
  const [payload = '', signature = ''] = token.slice(4).split('.');
  const spki = (await signingKey(directory)).export({ type: 'pkcs8', format: 'der' });
  const hmac = createHmac('sha256', spki).update(payload).digest('base64url');
  const jwt = (header: object, mac: string) =>
    `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}.${mac}`;
  const shapes: Readonly<Record<string, string>> = {
    'forged with another key': writeJoinToken(claims, stranger),
    HS256: `slk_${payload}.${hmac}`,
    'HS256 JWT': jwt({ alg: 'HS256' }, hmac),
    'alg none': jwt({ alg: 'none' }, ''),
    'kid with a path': jwt({ alg: 'EdDSA', kid: '../../etc/passwd' }, signature),
    'no signature': `slk_${payload}.`,
    'signature of zeros': `slk_${payload}.${'A'.repeat(86)}`,
    'another encoding of the same signature': `slk_${payload}.${signature.slice(0, -1)}${next(signature)}`,
    'with a newline': `${token}\n`,
    'with text behind': `${token}x`,
    'in padding': `${token}=`,
    'no end': writeJoinToken({ ...claims, exp: undefined } as unknown as JoinTokenClaims, await signingKey(directory)),
    'one field more': writeJoinToken({ ...claims, admin: true } as JoinTokenClaims, await signingKey(directory)),
    'not JSON': `slk_${Buffer.from('{').toString('base64url')}.${signature}`,
    'too long': `slk_${'A'.repeat(3000)}.${signature}`,
    empty: '',
  };
  for (const [what, text] of Object.entries(shapes)) {
    await t.rejects(tokens.check(text), { code: 'SL-TOK-001' }, what);
  }
  for (let length = 0; length < token.length; length += 9) {
    await t.rejects(tokens.check(token.slice(0, length)), { code: 'SL-TOK-001' });
  }
});

t.test('M22 every flipped bit is refused', async (t) => {
  const tokens = await open(t.testdir(), fakeClock());
  const { token } = await tokens.create(wanted);
  const accepted: number[] = [];
  for (let i = 0; i < token.length; i++) {
    const flipped = token.slice(0, i) + String.fromCharCode(token.charCodeAt(i) ^ 1) + token.slice(i + 1);
    const refused = await tokens.check(flipped).then(
      () => false,
      () => true,
    );
    if (!refused) accepted.push(i);
  }
  t.same(accepted, []);
});

t.test('M24 the id has 128 random bits and only its hash is on disk', async (t) => {
  const directory = t.testdir();
  const tokens = await open(directory, fakeClock());
  const ids = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const { token } = await tokens.create(wanted);
    ids.add(readJoinToken(token).claims.id);
  }
  t.equal(ids.size, 20);
  const files = await readdir(directory);
  const texts = await Promise.all(files.map((file) => readFile(join(directory, file), 'utf8')));
  for (const id of ids) t.notOk([...files, ...texts].some((text) => text.includes(id)));
  for (const file of files) t.equal((await stat(join(directory, file))).mode & 0o777, 0o600);
});

t.test('a revoked token cannot be used, a used one cannot be revoked', async (t) => {
  const tokens = await open(t.testdir(), fakeClock());
  const first = await tokens.create(wanted);
  t.equal(await tokens.revoke(first.id), true);
  const { claims } = await tokens.check(first.token);
  await t.rejects(tokens.consume(claims, use), { code: 'SL-TOK-002', message: /by revoked/ });
  const second = await tokens.create(wanted);
  await tokens.consume((await tokens.check(second.token)).claims, use);
  t.equal(await tokens.revoke(second.id), false);
  t.equal(await tokens.revoke('0123456789abcdef'), false);
});

t.test('the list shows what became of each token, and nothing to use it with', async (t) => {
  const clock = fakeClock();
  const tokens = await open(t.testdir(), clock);
  const short = await tokens.create({ ...wanted, ttlMs: MINUTE });
  clock.jump(1);
  const used = await tokens.create(wanted);
  await tokens.consume((await tokens.check(used.token)).claims, use);
  clock.jump(1);
  await tokens.create(wanted);
  clock.jump(2 * MINUTE);
  const list = await tokens.list();
  t.same(
    list.map(({ state }) => state),
    ['expired', 'used', 'open'],
  );
  t.match(list[1], { id: used.id, service: 'orders', namespace: 'shop', usedBy: '10.0.0.5' });
  t.equal(list[0]?.id, short.id);
});

t.test('a week after its end a token is forgotten at the next start, and is still not valid', async (t) => {
  const directory = t.testdir();
  const clock = fakeClock();
  const tokens = await open(directory, clock);
  const { token } = await tokens.create(wanted);
  await tokens.consume((await tokens.check(token)).claims, use);
  clock.jump(8 * 24 * 60 * MINUTE);
  t.same(await (await open(directory, clock)).list(), []);
  t.same(await readdir(directory), ['signing.key']);
  clock.jump(-8 * 24 * 60 * MINUTE);
  await t.rejects(tokens.check(token), { code: 'SL-TOK-001' });
});

t.test('a token of a lost record, or of a manager that was set up anew, is not valid', async (t) => {
  const directory = t.testdir();
  const tokens = await open(directory, fakeClock());
  const { token } = await tokens.create(wanted);
  for (const file of await readdir(directory)) if (file.endsWith('.json')) await rm(join(directory, file));
  await t.rejects(tokens.check(token), { code: 'SL-TOK-001', why: 'this manager has no record of it' });
  const other = await open(t.testdir({}), fakeClock());
  await t.rejects(other.check(token), { code: 'SL-TOK-001' });
});

/** The last of 86 characters carries four bits of padding: there are 15 other ways to write the same bytes. */
function next(signature: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return alphabet[alphabet.indexOf(signature.at(-1) ?? 'A') + 1] ?? 'A';
}
