import { spawnSync } from 'node:child_process';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MINUTE } from '../../src/base/clock.ts';
import { createCandidate } from '../../src/sidecar/enroll.ts';
import { identityDirectory } from '../../src/sidecar/identity-directory.ts';
import { spiffeIdOf } from '../support/identity-files.ts';
import { startIdentity } from '../support/identity-rig.ts';
import { type Rig, startRig } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';
import { until } from '../support/until.ts';

let manager: Rig;
t.before(async () => {
  manager = await startRig(t);
});

const tokenFor = async (service: string, from = manager) => (await from.manager.tokens.create({ service })).token;
const directoryIn = (t: Test) => join(t.testdir({}), 'identity');

interface Options {
  readonly service?: string;
  readonly token?: string | (() => Promise<string | undefined>);
  readonly address?: string;
}

const start = (t: Test, directory: string, { service = 'orders', token, address }: Options = {}) =>
  startIdentity(
    t,
    {
      source: 'manager',
      service,
      directory,
      keyType: 'ecdsa-p256',
      ...(token === undefined ? {} : { token: typeof token === 'string' ? async () => token : token }),
      ...(address === undefined ? {} : { address }),
    },
    { service, clock: manager.clock },
  );

t.test('a token becomes an identity: in memory, and on disk with the right modes', async (t) => {
  const directory = directoryIn(t);
  const rig = await start(t, directory, { token: await tokenFor('orders') });
  t.notOk(rig.readiness.ready);
  await until(() => rig.events('enrolled').length > 0);
  t.ok(rig.readiness.ready);
  const identity = rig.holder.current();
  t.equal(identity?.spiffeId, spiffeIdOf('orders'));
  t.equal(identity?.material.leaf.keyType, 'ecdsa-p256');
  const trust = await manager.client(identity?.material).trust();
  t.equal(trust.sha256, identity?.trustGeneration, 'both ends count trust generations alike');
  const mode = async (name: string) => ((await stat(join(directory, name))).mode & 0o777).toString(8);
  t.same(await Promise.all(['cert.pem', 'key.pem', 'ca.pem', ''].map(mode)), ['644', '600', '644', '700']);
  t.match(rig.events('enrolled'), [{ serial: identity?.serial, spiffeId: spiffeIdOf('orders') }]);
  t.equal(await rig.metric('sidelock_renewals_total{result="ok",reason="none"}'), 1);
  t.notOk((await readdir(directory)).includes('.sidelock'), 'nothing of the enrolment is left');
  const text = JSON.stringify([...rig.lines, ...manager.lines]);
  t.notMatch(text, /slk_[\w-]{10}|PRIVATE KEY/);
});

t.test('openssl reads and verifies what is on disk', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const directory = directoryIn(t);
  const rig = await start(t, directory, { token: await tokenFor('orders') });
  await until(() => rig.readiness.ready);
  const file = (name: string) => join(directory, name);
  const run = (...args: string[]) => spawnSync(openssl, args, { encoding: 'utf8' });
  t.match(run('verify', '-x509_strict', '-CAfile', file('ca.pem'), file('cert.pem')).stdout, /cert.pem: OK/);
  t.match(run('x509', '-in', file('cert.pem'), '-noout', '-text').stdout, spiffeIdOf('orders'));
  const ofCertificate = run('x509', '-in', file('cert.pem'), '-noout', '-pubkey').stdout;
  t.equal(run('pkey', '-in', file('key.pem'), '-pubout').stdout, ofCertificate);
});

t.test('after a restart no token and no address are needed, and renewals go on', async (t) => {
  const directory = directoryIn(t);
  const first = await start(t, directory, { token: await tokenFor('orders') });
  await until(() => first.readiness.ready);
  await first.source[Symbol.asyncDispose]();

  const second = await start(t, directory);
  t.ok(second.readiness.ready);
  t.equal(second.serial(), first.serial());
  await second.source.renewNow();
  await second.source.renewNow();
  t.equal(second.seen.length, 3);
  t.equal(new Set(second.seen.map(({ serial }) => serial)).size, 3);
  t.match(second.events('renewed'), [{}, { serial: second.serial() }]);
  t.equal(await second.metric('sidelock_manager_up'), 1);
  t.ok(((await second.metric('sidelock_renewal_due_timestamp_seconds')) ?? 0) * 1000 > manager.clock.now() + MINUTE);
});

t.test('a token that is used, for another service, expired, of another manager, or changed', async (t) => {
  const other = await startRig(t);
  const used = await tokenFor('orders');
  const one = directoryIn(t);
  const winner = await start(t, one, { token: used });
  await until(() => winner.readiness.ready);
  const old = await manager.manager.tokens.create({ service: 'orders', ttlMs: 1 });
  const good = await tokenFor('orders');
  const broken = `${good.slice(0, -4)}AAAA`;

  for (const [what, token, code, address] of [
    ['used', used, 'SL-TOK-002', manager.url],
    ['another service', await tokenFor('billing'), 'SL-TOK-004', manager.url],
    ['expired', old.token, 'SL-TOK-003', manager.url],
    ['another manager', await tokenFor('orders', other), 'SL-TOK-005', manager.url],
    ['changed', broken, 'SL-TOK-001', manager.url],
    ['no token', 'hello', 'SL-TOK-001', manager.url],
  ] as const) {
    const directory = join(one, '..', what.replace(/ /g, '-'));
    const rig = await start(t, directory, { token, address });
    await until(() => rig.events('renewal_failed').length > 0);
    t.match(rig.events('renewal_failed'), [{ reason: 'token', code, level: 50 }], what);
    t.notOk(rig.readiness.ready, what);
    t.match(rig.why(), /token|manager/, what);
    await rig.source[Symbol.asyncDispose]();
  }
});

t.test('a refused token is not sent again, another one is', async (t) => {
  let token = await tokenFor('orders');
  const one = directoryIn(t);
  const first = await start(t, one, { token });
  await until(() => first.readiness.ready);
  const refusals = () => manager.lines.filter(({ event }) => event === 'token_refused').length;
  const before = refusals();
  const second = await start(t, join(one, '../second'), { token: async () => token });
  await second.source.renewNow();
  await second.source.renewNow();
  t.equal(refusals(), before + 1);
  token = await tokenFor('orders');
  await second.source.renewNow();
  t.ok(second.readiness.ready);
});

t.test(
  'F18: killed between the answer of the manager and the disk: the same token gives the same certificate',
  async (t) => {
    const path = directoryIn(t);
    const directory = identityDirectory(path, spiffeIdOf('orders'));
    const token = await tokenFor('orders');
    const { keyPem, csr } = await createCandidate('ecdsa-p256', 'orders');
    await directory.saveKey(keyPem);
    const lost = await manager.client().enroll(token, csr);

    const rig = await start(t, path, { token });
    await until(() => rig.events('enrolled').length > 0);
    t.equal(rig.holder.current()?.material.certPem.trim(), lost.certificate.trim());
    t.equal(await directory.savedKey(), undefined);
  },
);

t.test('F18: killed between the answer to a renewal and the disk: the answer is had again', async (t) => {
  const path = directoryIn(t);
  const first = await start(t, path, { token: await tokenFor('orders') });
  await until(() => first.readiness.ready);
  await first.source[Symbol.asyncDispose]();
  const shown = first.holder.current()?.material;
  const directory = identityDirectory(path, spiffeIdOf('orders'));
  const { keyPem, csr } = await createCandidate('ecdsa-p256', 'orders');
  await directory.saveKey(keyPem);
  const lost = await manager.client(shown).renew(csr);

  const second = await start(t, path);
  t.equal(second.serial(), first.serial());
  await second.source.renewNow();
  t.equal(second.holder.current()?.material.certPem.trim(), lost.certificate.trim());
});

t.test('damaged files and a token: enrolled anew; damaged files without: said what is wrong with them', async (t) => {
  const path = directoryIn(t);
  const first = await start(t, path, { token: await tokenFor('orders') });
  await until(() => first.readiness.ready);
  await first.source[Symbol.asyncDispose]();
  const key = join(path, 'key.pem');
  const text = await readFile(key, 'utf8');
  await writeFile(key, text.slice(0, 100));
  const without = await start(t, path, { address: manager.url });
  await until(() => without.events('renewal_failed').length > 0);
  t.match(without.why(), /key\.pem is cut short/);
  await without.source[Symbol.asyncDispose]();
  const withToken = await start(t, path, { token: await tokenFor('orders') });
  await until(() => withToken.readiness.ready);
  t.not(withToken.serial(), first.serial());
  await rm(path, { recursive: true });
});

t.test('files put there by an operator are taken up', async (t) => {
  const one = directoryIn(t);
  const two = join(one, '../two');
  const first = await start(t, one, { token: await tokenFor('orders') });
  const second = await start(t, two, { token: await tokenFor('orders') });
  await until(() => first.readiness.ready && second.readiness.ready);
  await second.source.renewNow();
  for (const name of ['key.pem', 'cert.pem', 'ca.pem']) {
    await writeFile(join(one, name), await readFile(join(two, name)));
  }
  await until(() => first.serial() === second.serial());
  t.ok(first.readiness.ready);
});

t.test('expired and refused for it: a token gets a new identity, a good identity is never enrolled anew', async (t) => {
  const strict = await startRig(t, { certificates: { validityMs: 10 * MINUTE, expiredGraceMs: 1 } });
  const path = directoryIn(t);
  let tokens = 0;
  const token = async () => {
    tokens++;
    return (await strict.manager.tokens.create({ service: 'orders' })).token;
  };
  const startStrict = () =>
    startIdentity(t, { source: 'manager', service: 'orders', directory: path, token }, { clock: strict.clock });
  const first = await startStrict();
  await until(() => first.readiness.ready);
  await first.source[Symbol.asyncDispose]();
  const asked = tokens;
  strict.clock.shift(20 * MINUTE);
  const second = await startStrict();
  await until(() => second.events('enrolled').length > 0);
  t.ok(second.readiness.ready);
  t.not(second.serial(), first.serial());
  t.ok(tokens > asked);
  t.match(
    strict.lines.filter(({ event }) => event === 'certificate_refused'),
    [{ code: 'SL-CERT-001' }],
  );
});
