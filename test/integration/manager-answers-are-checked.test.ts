import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { isAbort } from '../../src/base/errors.ts';
import { basicConstraints, DAY, dns, extKeyUsage, keyUsage, PURPOSE, subjectAltName, uri } from '../support/badcert.ts';
import { type Answering, startFakeManager } from '../support/fake-manager.ts';
import { spiffeIdOf, swap, testAuthority } from '../support/identity-files.ts';
import { startIdentity } from '../support/identity-rig.ts';
import { until } from '../support/until.ts';

const authority = testAuthority();
const stranger = testAuthority('Other-CA');

let directories = 0;

/** A sidecar with a good identity on disk that is not due for renewal, and a manager at `address`. */
async function serving(t: Test, address: string, options: { requestTimeoutMs?: number } = {}) {
  const directory = join(t.testdir({}), `identity-${++directories}`);
  const trio = authority.issue();
  await swap(directory, trio);
  const rig = await startIdentity(t, { source: 'manager', service: 'orders', directory, address, ...options });
  t.equal(rig.serial(), trio.serial);
  return { ...rig, trio, directory };
}

t.test('F10: each wrong answer is refused with its reason, and the old identity serves on', async (t) => {
  const manager = await startFakeManager(t, authority);
  const now = Date.now();
  const { sign, answerWith } = manager;
  const html = '<html><body>It works</body></html>';
  const otherKey = authority.issue().cert;
  const san = (...names: Buffer[]) => ({ extensions: { san: subjectAltName(...names) } });
  const error = (code: string) =>
    JSON.stringify({ error: { code, message: 'no', fix: 'ask again', id: 'abc', why: 'a reason' } });

  const rows: ReadonlyArray<readonly [what: string, reason: string, says: RegExp, answer: Answering]> = [
    ['500 with HTML', 'bad_answer', /status 500/, () => ({ status: 500, type: 'text/html', body: html })],
    ['200 with HTML', 'bad_answer', /text\/html/, () => ({ type: 'text/html', body: html })],
    ['no JSON', 'bad_answer', /./, () => ({ body: '{"certificate":' })],
    ['empty', 'bad_answer', /./, () => ({ body: '' })],
    ['another shape', 'bad_answer', /certificate/, () => ({ body: '{}' })],
    ['an unknown field', 'bad_answer', /extra/, (csr) => answerWith(sign(csr), { extra: 1 })],
    ['10 MB', 'bad_answer', /larger than/, () => ({ body: Buffer.alloc(10_000_000, 0x20) })],
    ['a certificate for another key', 'bad_answer', /another key/, () => answerWith(otherKey)],
    [
      'another identity',
      'bad_answer',
      /billing/,
      (csr) => answerWith(sign(csr, san(uri(spiffeIdOf('billing')), dns('billing')))),
    ],
    [
      'another trust domain',
      'bad_answer',
      /./,
      (csr) => answerWith(sign(csr, san(uri('spiffe://evil.local/ns/default/sa/orders'), dns('orders')))),
    ],
    [
      'expired',
      'bad_answer',
      /expired/,
      (csr) => answerWith(sign(csr, { notBefore: now - 9 * DAY, notAfter: now - DAY })),
    ],
    [
      'not yet valid',
      'bad_answer',
      /not.yet.valid/,
      (csr) => answerWith(sign(csr, { notBefore: now + DAY, notAfter: now + 9 * DAY })),
    ],
    ['an unknown root', 'bad_answer', /unknown_ca|chain/, (csr) => answerWith(sign(csr, {}, stranger.root))],
    [
      'an unknown root and a bundle that has it',
      'bad_answer',
      /none of the roots/,
      (csr) => answerWith(sign(csr, {}, stranger.root), { bundle: stranger.root.pem }),
    ],
    [
      'an unknown root beside the known one',
      'bad_answer',
      /chain/,
      (csr) => answerWith(sign(csr, {}, stranger.root), { bundle: authority.root.pem + stranger.root.pem }),
    ],
    ['an empty bundle', 'bad_answer', /./, (csr) => answerWith(sign(csr), { bundle: 'none' })],
    [
      'a CA certificate',
      'bad_answer',
      /./,
      (csr) => answerWith(sign(csr, { extensions: { bc: basicConstraints(true), ku: keyUsage('keyCertSign') } })),
    ],
    [
      'for servers only',
      'bad_answer',
      /./,
      (csr) => answerWith(sign(csr, { extensions: { eku: extKeyUsage(PURPOSE.server) } })),
    ],
    ['a refusal', 'refused', /a reason/, () => ({ status: 403, body: error('SL-API-002') })],
    ['a refusal this version does not know', 'refused', /a reason/, () => ({ status: 400, body: error('SL-NEW-999') })],
    ['too many requests', 'rate_limited', /./, () => ({ status: 429, body: error('SL-API-003') })],
  ];

  for (const [what, reason, says, answer] of rows) {
    const { source, serial, trio, directory, events, metric, readiness } = await serving(t, manager.address);
    const before = await readFile(join(directory, 'cert.pem'), 'utf8');
    manager.answer(answer);
    await source.renewNow();
    t.equal(await metric(`sidelock_renewals_total{result="failed",reason="${reason}"}`), 1, what);
    t.equal(serial(), trio.serial, `${what}: the old one serves on`);
    t.equal(await readFile(join(directory, 'cert.pem'), 'utf8'), before, `${what}: nothing was written`);
    const [line] = events('renewal_failed');
    t.match(line, { level: 40, reason, serving: { serial: trio.serial } });
    t.match(`${line?.['msg']} ${line?.['why']}`, says, `${what}: says why`);
    t.ok(readiness.ready);
    await source[Symbol.asyncDispose]();
  }
  const { source, serial, trio, metric } = await serving(t, manager.address);
  manager.answer(manager.good);
  await source.renewNow();
  t.not(serial(), trio.serial);
  t.equal(await metric('sidelock_renewals_total{result="ok",reason="none"}'), 1);
  t.equal(await metric('sidelock_manager_up'), 1);
  t.comment(`${rows.length} wrong answers refused`);
});

t.test('a man in the middle gets no request to see', async (t) => {
  const manager = await startFakeManager(t, authority, { shows: stranger.root });
  const { source, serial, trio, events } = await serving(t, manager.address);
  await source.renewNow();
  t.equal(serial(), trio.serial);
  t.same(manager.state.asked, []);
  t.match(events('renewal_failed'), [{ reason: 'bad_answer', code: 'SL-MGR-002' }]);
});

t.test('nothing there, plain HTTP there, a half-open connection: not reachable, with why', async (t) => {
  const closed = createTcpServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const plain = createServer((_request, response) => response.end('hello'));
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  t.teardown(() => plain.close());
  const mute = createTcpServer((socket) => t.teardown(() => socket.destroy()));
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  t.teardown(() => mute.close());

  for (const [target, says] of [
    [port, /ECONNREFUSED/],
    [(plain.address() as AddressInfo).port, /plain HTTP/],
    [(mute.address() as AddressInfo).port, /within 0.3 s/],
  ] as const) {
    const { source, serial, trio, events, metric } = await serving(t, `https://127.0.0.1:${target}`, {
      requestTimeoutMs: 300,
    });
    await source.renewNow();
    t.equal(serial(), trio.serial);
    t.match(events('renewal_failed'), [{ reason: 'unreachable', code: 'SL-MGR-001', why: says, level: 40 }]);
    t.equal(await metric('sidelock_manager_up'), 0);
  }
});

t.test('F11: a manager that does not answer: the request ends, one is in flight', async (t) => {
  const manager = await startFakeManager(t, authority);
  manager.answer(() => undefined);
  const { source, serial, trio, metric } = await serving(t, manager.address, { requestTimeoutMs: 200 });
  await Promise.all([source.renewNow(), source.renewNow(), source.renewNow()]);
  await source.renewNow();
  t.equal(serial(), trio.serial);
  t.equal(manager.state.mostOpen, 1);
  t.ok(((await metric('sidelock_renewals_total{result="failed",reason="unreachable"}')) ?? 0) >= 2);
  manager.answer(manager.good);
  await source.renewNow();
  t.not(serial(), trio.serial);
  const keys = manager.state.asked.map(({ csr }) => csr);
  t.equal(new Set(keys).size, 1, 'all tries of one renewal asked with one key');
});

t.test('each renewal has a key of its own', async (t) => {
  const manager = await startFakeManager(t, authority);
  const { source, seen, trio } = await serving(t, manager.address);
  await source.renewNow();
  await source.renewNow();
  t.equal(seen.length, 3);
  t.equal(new Set(seen.map(({ material }) => material.leaf.spkiSha256)).size, 3);
  t.equal(manager.state.asked[0]?.serial, trio.serial, 'asked with the leaf in use');
  t.equal(manager.state.asked[1]?.serial, seen[1]?.serial);
});

t.test('the bundle of an answer becomes ca.pem', async (t) => {
  const manager = await startFakeManager(t, authority);
  const { source, holder, directory } = await serving(t, manager.address);
  const next = testAuthority('AI-Teddy-CA (2)').root;
  const bundle = authority.root.pem + next.pem;
  manager.answer((csr) => manager.answerWith(manager.sign(csr), { bundle }));
  await source.renewNow();
  t.equal(holder.current()?.material.bundle.roots.length, 2);
  t.equal(await readFile(join(directory, 'ca.pem'), 'utf8'), bundle);
});

t.test('the clock of the manager is compared with ours', async (t) => {
  const manager = await startFakeManager(t, authority);
  const { source, metric, events } = await serving(t, manager.address);
  manager.answer((csr) => manager.answerWith(manager.sign(csr), { time: systemClock.now() + 90_000 }));
  await source.renewNow();
  const skew = (await metric('sidelock_clock_skew_seconds')) ?? 0;
  t.ok(skew < -85 && skew > -95, `${skew}`);
  t.match(events('clock_skew'), [{ code: 'SL-CLOCK-001', msg: /behind that of the manager/ }]);
});

t.test('no log line of all this holds a key', async (t) => {
  const manager = await startFakeManager(t, authority);
  const { source, lines, holder } = await serving(t, manager.address);
  await source.renewNow();
  await until(() => holder.current()?.generation === 2);
  const text = JSON.stringify(lines);
  t.notMatch(text, /PRIVATE KEY/);
  t.notMatch(text, holder.current()?.material.keyPem.split('\n')[1] ?? 'none');
});

t.test('the end of the source ends a question under way', async (t) => {
  const manager = await startFakeManager(t, authority);
  manager.answer(() => undefined);
  const { source, events } = await serving(t, manager.address, { requestTimeoutMs: 3_600_000 });
  const asking = source.renewNow().catch((error: unknown) => error);
  await until(() => manager.state.asked.length > 0);
  await source[Symbol.asyncDispose]();
  t.ok(isAbort(await asking));
  t.same(events('renewal_failed'), [], 'and is no failure');
  t.ok(isAbort(await source.renewNow().catch((error: unknown) => error)));
});
