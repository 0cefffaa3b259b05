import t, { type Test } from 'tap';
import { MINUTE, SECOND } from '../../../src/base/clock.ts';
import { SidelockError } from '../../../src/base/errors.ts';
import { Readiness } from '../../../src/base/lifecycle.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { createIdentityHolder } from '../../../src/sidecar/identity.ts';
import { trackIdentity } from '../../../src/sidecar/identity-state.ts';
import { identityMetrics } from '../../../src/sidecar/metrics-identity.ts';
import { createReloader, type FileSet } from '../../../src/sidecar/sources/reload.ts';
import { fakeClock, settle } from '../../support/fake-clock.ts';
import { fakeMaterial, recordingLog } from '../../support/identity-fakes.ts';

const FOREVER = Date.UTC(2099, 0);

/** A set that is good when `fault` is undefined; its hash is its name. */
const set = (name: string, fault?: SidelockError): FileSet => ({
  hash: name,
  load: () => {
    if (fault !== undefined) throw fault;
    return fakeMaterial(name, { notAfter: FOREVER });
  },
});

const mismatch = new SidelockError('SL-PAIR-001', 'key.pem does not belong to cert.pem', { why: '9ab1, 77c0' });
const cut = new SidelockError('SL-PEM-003', 'cert.pem is cut short');

function start(t: Test, prepare: () => void = () => {}) {
  const clock = fakeClock();
  const { log, events } = recordingLog();
  const readiness = new Readiness();
  const registry = createMetrics();
  const holder = createIdentityHolder({ log, prepare });
  const stop = new AbortController();
  const metrics = identityMetrics(registry, holder);
  const state = trackIdentity({ reader: holder, readiness, clock, log, signal: stop.signal });
  const disk: { read: () => Promise<FileSet | undefined>; looks: number } = { read: async () => undefined, looks: 0 };
  const reloader = createReloader({
    holder,
    state,
    metrics,
    clock,
    random: () => 1,
    log,
    signal: stop.signal,
    where: '/etc/orders',
    read: () => {
      disk.looks++;
      return disk.read();
    },
  });
  t.teardown(() => stop.abort());
  const put = (found: FileSet | undefined) => {
    disk.read = async () => found;
    return reloader.reload();
  };
  const counts = () => ({ ok: metrics.reloadsOk.value, invalid: metrics.reloadsInvalid.value });
  return { clock, events, readiness, registry, holder, metrics, disk, reloader, put, counts, stop };
}

t.test('one reload per distinct content, none for the same', async (t) => {
  const { clock, put, holder, counts, events, metrics } = start(t);
  await put(set('a'));
  await put(set('a', new SidelockError('SL-CERT-001', 'what is in use is not judged again')));
  await clock.advance(SECOND);
  await put(set('b'));
  t.equal(holder.current()?.serial, 'b');
  t.same(counts(), { ok: 2, invalid: 0 });
  t.equal(metrics.lastReloadSuccessful.value, 1);
  t.match(events('identity_loaded'), [
    { generation: 1, serial: 'a', where: '/etc/orders', bundleKeyIds: ['k1'] },
    { generation: 2, serial: 'b' },
  ]);
});

t.test(
  'a bad set: the old serves on, one line with code, why and fix, counted once, tried again up to 5 s',
  async (t) => {
    const { clock, put, holder, counts, events, disk, readiness, metrics } = start(t);
    await put(set('a'));
    await put(set('bad', mismatch));
    await clock.advance(MINUTE);
    t.equal(holder.current()?.serial, 'a');
    t.ok(readiness.ready);
    t.same(counts(), { ok: 1, invalid: 1 });
    t.equal(metrics.lastReloadSuccessful.value, 0);
    t.match(events('identity_refused'), [
      {
        level: 40,
        code: 'SL-PAIR-001',
        why: '9ab1, 77c0',
        fix: 'Replace certificate and key together.',
        serving: { serial: 'a' },
        msg: /^key.pem does not belong to cert.pem; serving the previous one \(serial a, until 2099-/,
      },
    ]);
    t.equal(events('identity_refused').length, 1);
    const looks = disk.looks;
    await clock.advance(MINUTE);
    t.equal(disk.looks - looks, 12, 'every 5 s');
    disk.read = async () => set('b');
    await clock.advance(5 * SECOND);
    t.equal(holder.current()?.serial, 'b', 'taken up although nothing told of the change');
    t.equal(metrics.lastReloadSuccessful.value, 1);
    const after = disk.looks;
    await clock.advance(MINUTE);
    t.equal(disk.looks, after, 'no more tries once it is good');
  },
);

t.test('each distinct bad content is one line, however often it is looked at', async (t) => {
  const { clock, put, events, counts } = start(t);
  await put(set('a'));
  for (const [name, fault] of [
    ['bad1', mismatch],
    ['bad2', cut],
    ['bad3', cut],
  ] as const) {
    await put(set(name, fault));
    await put(set(name, fault));
    await clock.advance(10 * SECOND);
  }
  t.equal(events('identity_refused').length, 3);
  t.equal(counts().invalid, 3);
});

t.test('F3: what does not fit together for a moment only is no news', async (t) => {
  const { clock, put, events, counts, holder } = start(t);
  await put(set('a'));
  await put(set('half', mismatch));
  await put(set('b'));
  await clock.advance(MINUTE);
  t.equal(holder.current()?.serial, 'b');
  t.same(counts(), { ok: 2, invalid: 0 });
  t.same(events('identity_refused'), []);
});

t.test('back from a bad set to the one in use is no reload', async (t) => {
  const { clock, put, counts, metrics } = start(t);
  await put(set('a'));
  await put(set('bad', cut));
  await clock.advance(SECOND);
  t.equal(metrics.lastReloadSuccessful.value, 0);
  await put(set('a'));
  t.equal(metrics.lastReloadSuccessful.value, 1);
  t.same(counts(), { ok: 1, invalid: 1 });
});

t.test('a bad set at start: not ready with the reason, and an error', async (t) => {
  const { clock, put, readiness, events } = start(t);
  await put(set('bad', mismatch));
  t.same(readiness.blockers(), [{ name: 'identity', why: 'key.pem does not belong to cert.pem: 9ab1, 77c0' }]);
  await clock.advance(SECOND);
  t.match(events('identity_refused'), [{ level: 50, msg: /there is no older identity to serve$/ }]);
});

t.test('files that vanish are a fault only after there were some', async (t) => {
  const { clock, put, holder, events, readiness } = start(t);
  await put(undefined);
  await clock.advance(MINUTE);
  t.same(events('identity_refused'), []);
  t.notOk(readiness.ready);
  await put(set('a'));
  await put(undefined);
  await clock.advance(MINUTE);
  t.equal(holder.current()?.serial, 'a');
  t.match(events('identity_refused'), [{ code: 'SL-FS-001' }]);
});

t.test('looks asked for during a look share one more look', async (t) => {
  const { reloader, disk, holder } = start(t);
  const gate = Promise.withResolvers<void>();
  disk.read = async () => {
    await gate.promise;
    return set('a');
  };
  const first = reloader.reload();
  const others = [reloader.reload(), reloader.reload(), reloader.reload()];
  await settle();
  t.equal(disk.looks, 1);
  disk.read = async () => set('b');
  gate.resolve();
  await Promise.all([first, ...others]);
  t.equal(disk.looks, 2);
  t.equal(holder.current()?.serial, 'b');
});

t.test('an unexpected error is a refusal like any other', async (t) => {
  const { clock, disk, reloader, put, holder, events } = start(t);
  await put(set('a'));
  disk.read = async () => {
    throw new TypeError('bug');
  };
  await reloader.reload();
  await clock.advance(SECOND);
  t.equal(holder.current()?.serial, 'a');
  t.match(events('identity_refused'), [{ code: 'SL-FS-001', why: 'bug' }]);
});

t.test('an identity that the data plane cannot use is refused, and tried again', async (t) => {
  let usable = true;
  const { clock, put, holder, events, counts } = start(t, () => {
    if (!usable) throw new SidelockError('SL-TLS-009', 'no context can be built');
  });
  await put(set('a'));
  usable = false;
  await put(set('b'));
  await clock.advance(SECOND);
  t.equal(holder.current()?.serial, 'a');
  t.match(events('identity_refused'), [{ code: 'SL-TLS-009', serving: { serial: 'a' } }]);
  usable = true;
  await clock.advance(5 * SECOND);
  t.equal(holder.current()?.serial, 'b');
  t.same(counts(), { ok: 2, invalid: 1 });
});

t.test('the metrics of the identity', async (t) => {
  const { put, registry } = start(t);
  t.notMatch(await registry.render(), /^x509_cert_not_after/m);
  await put(set('a'));
  const text = await registry.render();
  t.match(text, /^sidelock_reload_total\{result="ok"\} 1$/m);
  t.match(text, /^sidelock_reload_total\{result="invalid"\} 0$/m);
  t.match(text, /^sidelock_identity_generation 1$/m);
  t.match(text, /^sidelock_last_reload_successful 1$/m);
  t.match(text, /^x509_cert_not_after\{kind="leaf"\} 4070908800$/m);
  t.match(text, /^x509_cert_not_before\{kind="leaf"\} 0$/m);
  t.match(text, /^sidelock_trust_bundle_info\{bundle_generation="r1",roots="1"\} 1$/m);
});

t.test('ends with the signal, in the middle of its tries', async (t) => {
  const { clock, put, stop, events, disk } = start(t);
  await put(set('bad', cut));
  await settle();
  stop.abort();
  await settle();
  t.equal(clock.sleeping, 0);
  const looks = disk.looks;
  await clock.advance(MINUTE);
  t.equal(disk.looks, looks);
  t.same(events('internal_error'), []);
});
