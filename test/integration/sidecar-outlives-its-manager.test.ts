import { spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DAY, HOUR, MINUTE, SECOND } from '../../src/base/clock.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { startFakeManager } from '../support/fake-manager.ts';
import { overwrite, swap, testAuthority } from '../support/identity-files.ts';
import { startIdentity } from '../support/identity-rig.ts';
import { until } from '../support/until.ts';

const authority = testAuthority();

interface Situation {
  /** Of the identity on disk, counted from the fake now; none when absent. */
  readonly disk?: { readonly from: number; readonly to: number };
  readonly token?: () => Promise<string | undefined>;
  readonly up?: boolean;
  readonly parent?: string;
}

/** A sidecar with a manager and a clock that a test moves. */
async function situation(t: Test, { disk, token, up = true, parent = t.testdir({}) }: Situation) {
  const clock = fakeClock(Date.now());
  const manager = await startFakeManager(t, authority, { now: () => clock.now() });
  manager.state.up = up;
  const directory = join(parent, 'identity');
  const spec = disk && { notBefore: clock.now() + disk.from, notAfter: clock.now() + disk.to };
  const trio = authority.issue('orders', spec);
  if (disk !== undefined) await swap(directory, trio);
  const start = () =>
    startIdentity(
      t,
      {
        source: 'manager',
        service: 'orders',
        directory,
        address: manager.address,
        keyType: 'ecdsa-p256',
        ...(token === undefined ? {} : { token }),
      },
      { clock, random: () => 0.5 },
    );
  return { clock, manager, directory, trio, start };
}

/** What sleeps when nothing is under way: the watch over the end of the leaf, the loop of renewals, the probe. */
const AT_REST = 3;

/** Moves the clock until `condition`, but never while an attempt is under way: that takes real time. */
async function advanceUntil(clock: FakeClock, condition: () => boolean | Promise<boolean>): Promise<void> {
  const step = async () => {
    if (await condition()) return true;
    if (clock.sleeping >= AT_REST) await clock.advance(SECOND);
    return false;
  };
  await until(step, { every: 1 });
}

const failures = (rig: { metric(series: string): Promise<number | undefined> }, reason = 'unreachable') =>
  rig.metric(`sidelock_renewals_total{result="failed",reason="${reason}"}`);

t.test('F7: manager away at start, valid identity on disk: ready when the start returns', async (t) => {
  const { start, manager, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY }, up: false });
  const { readiness, serial } = await start();
  t.ok(readiness.ready);
  t.equal(serial(), trio.serial);
  t.equal(manager.state.connections, 0, 'nobody was asked');
});

t.test(
  'F7: manager away at start, identity on disk expired: not ready, with the reason, until it is back',
  async (t) => {
    const { start, manager, clock, trio } = await situation(t, { disk: { from: -90 * DAY, to: -HOUR }, up: false });
    const rig = await start();
    await until(async () => (await failures(rig)) === 1);
    t.notOk(rig.readiness.ready);
    t.match(rig.why(), /certificate of orders expired 1 h.* ago.*the manager is not reachable/);
    t.equal(rig.serial(), undefined);
    manager.state.up = true;
    await advanceUntil(clock, () => rig.readiness.ready);
    t.equal(manager.state.asked.at(-1)?.path, '/v1/renew');
    t.equal(manager.state.asked.at(-1)?.serial, trio.serial, 'within its grace the expired leaf is good for one thing');
  },
);

t.test('F7: nothing on disk and no token: not ready, with what to do, tried at least every 30 s', async (t) => {
  let token: string | undefined;
  const asked: number[] = [];
  const { start, clock } = await situation(t, {
    token: async () => {
      asked.push(clock.now());
      return token;
    },
  });
  const rig = await start();
  await until(() => asked.length > 0);
  await until(() => rig.events('renewal_failed').length > 0);
  t.notOk(rig.readiness.ready);
  t.match(rig.why(), /neither a usable certificate on disk nor a join token for orders/);
  t.match(rig.events('renewal_failed'), [{ reason: 'no_token', fix: /sidelock token create orders/, level: 50 }]);
  t.same(rig.events('identity_refused'), [], 'an empty directory is how every sidecar begins');
  await advanceUntil(clock, () => asked.length === 10);
  const gaps = asked.slice(1).map((at, i) => (at - (asked[i] ?? 0)) / SECOND);
  t.ok(Math.max(...gaps) <= 30, gaps.join(' '));
  token = 'slk_not-a-token.x';
  await advanceUntil(clock, async () => ((await failures(rig, 'token')) ?? 0) > 0);
  t.match(rig.events('renewal_failed').at(-1), { reason: 'token', code: 'SL-TOK-001' });
  t.notMatch(JSON.stringify(rig.lines), 'not-a-token', 'and no token in the log');
});

t.test('expired beyond the grace: a token is needed, and said so', async (t) => {
  const { start, manager } = await situation(t, { disk: { from: -90 * DAY, to: -2 * DAY } });
  const rig = await start();
  await until(async () => (await failures(rig, 'no_token')) === 1);
  t.match(rig.why(), /expired 2 d.*join token/);
  t.same(manager.state.asked, []);
});

t.test('F8: manager away at renewal and back after an hour: serves on, renews, renews again', async (t) => {
  const { start, manager, clock, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY } });
  const rig = await start();
  manager.state.up = false;
  const due = ((await rig.metric('sidelock_renewal_due_timestamp_seconds')) ?? 0) * SECOND;
  t.ok(due > clock.now() + 50 * DAY && due < clock.now() + 60 * DAY, 'about 30 days before the end, and jitter');
  clock.jump(due - clock.now());
  await advanceUntil(clock, async () => ((await failures(rig)) ?? 0) > 0);
  t.match(rig.events('renewal_failed'), [{ level: 40, msg: /serving goes on until / }]);
  await advanceUntil(clock, async () => ((await failures(rig)) ?? 0) >= 8);
  clock.jump(HOUR);
  t.ok(rig.readiness.ready);
  t.equal(rig.serial(), trio.serial);
  t.equal(await rig.metric('sidelock_manager_up'), 0);
  const tries = (await failures(rig)) ?? 0;
  t.equal(rig.events('renewal_failed').length, Math.floor(Math.log2(tries)) + 1, 'lines at the 1st, 2nd, 4th, 8th');
  manager.state.up = true;
  await advanceUntil(clock, () => rig.serial() !== trio.serial);
  t.equal(await rig.metric('sidelock_manager_up'), 1);
  t.ok(rig.readiness.ready);
  const nextDue = async () => ((await rig.metric('sidelock_renewal_due_timestamp_seconds')) ?? 0) * SECOND;
  await until(async () => (await nextDue()) > clock.now());
  clock.jump((await nextDue()) - clock.now());
  const second = rig.serial();
  await advanceUntil(clock, () => rig.serial() !== second);
  t.equal(rig.seen.length, 3);
});

t.test(
  'F9: manager away for longer than the leaf lives: not ready at its end, and back without a restart',
  async (t) => {
    const { start, manager, clock, trio } = await situation(t, { disk: { from: -DAY, to: DAY } });
    const rig = await start();
    manager.state.up = false;
    clock.jump(DAY + HOUR);
    await advanceUntil(clock, () => !rig.readiness.ready);
    t.equal(rig.serial(), trio.serial, 'what there is stays, for peers to judge');
    await advanceUntil(clock, async () => ((await failures(rig)) ?? 0) >= 1);
    t.match(rig.why(), /our certificate expired at .*the manager is not reachable/);
    t.match(rig.events('identity_expired'), [{ level: 50, serial: trio.serial }]);
    manager.state.up = true;
    await advanceUntil(clock, () => rig.readiness.ready);
    t.equal(manager.state.asked.at(-1)?.serial, trio.serial);
  },
);

t.test('F18: ten restarts with an identity on disk ask nobody for anything', async (t) => {
  let tokens = 0;
  const { start, manager, trio } = await situation(t, {
    disk: { from: -DAY, to: 89 * DAY },
    token: async () => {
      tokens++;
      return undefined;
    },
  });
  for (let i = 0; i < 10; i++) {
    const { source, serial, readiness } = await start();
    t.ok(readiness.ready);
    t.equal(serial(), trio.serial);
    await source[Symbol.asyncDispose]();
  }
  t.equal(tokens, 0);
  t.equal(manager.state.connections, 0);
});

t.test('F18: what a killed writer leaves is no obstacle', async (t) => {
  const { start, directory, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY }, up: false });
  await overwrite(directory, {});
  const halves = ['..2026_11_24_07_00_00.0011223344556677', '..data_tmp'];
  spawnSync('mkdir', [join(directory, halves[0] ?? '')]);
  spawnSync('ln', ['-s', halves[0] ?? '', join(directory, halves[1] ?? '')]);
  const { serial, readiness } = await start();
  t.equal(serial(), trio.serial);
  t.ok(readiness.ready);
});

t.test('an identity of another service in the directory is not overwritten', async (t) => {
  const { start, directory, manager } = await situation(t, { token: async () => 'slk_anything' });
  await swap(directory, authority.issue('billing'));
  const rig = await start();
  await until(async () => (await failures(rig, 'disk')) === 1);
  t.match(rig.events('renewal_failed'), [{ code: 'SL-CERT-004', why: /billing/ }]);
  t.notOk(rig.readiness.ready);
  t.same(manager.state.asked, []);
});

t.test('F20: a clock that jumps ahead renews within 30 s, one that is set back changes nothing', async (t) => {
  const { start, manager, clock, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY } });
  const rig = await start();
  clock.jump(-HOUR);
  await clock.advance(MINUTE);
  clock.jump(DAY);
  await clock.advance(MINUTE);
  t.ok(rig.readiness.ready);
  t.equal(rig.serial(), trio.serial);
  t.same(manager.state.asked, []);
  clock.jump(65 * DAY);
  const jumped = clock.now();
  await clock.advance(30 * SECOND);
  await until(() => rig.serial() !== trio.serial);
  t.ok(clock.now() - jumped <= 30 * SECOND);
  t.ok(Math.max(...clock.sleeps) <= 6 * MINUTE, 'no long timer anywhere');
});

t.test('many that start overdue at once do not renew at once', async (t) => {
  const { start, clock, trio } = await situation(t, { disk: { from: -80 * DAY, to: 10 * DAY } });
  const began = clock.now();
  const rig = await start();
  const due = await rig.metric('sidelock_renewal_due_timestamp_seconds');
  t.equal(due, Math.floor((began + 15 * SECOND) / SECOND), 'random 0.5 of 30 s');
  await clock.advance(15 * SECOND);
  await until(() => rig.serial() !== trio.serial);
});

t.test('another trust bundle is fetched within minutes, not at the next renewal', async (t) => {
  const { start, manager, clock, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY } });
  const rig = await start();
  const both = authority.root.pem + testAuthority('AI-Teddy-CA (2)').root.pem;
  manager.state.bundle = both;
  await advanceUntil(clock, () => rig.holder.current()?.material.bundle.roots.length === 2);
  t.not(rig.serial(), trio.serial);
  t.match(rig.events('trust_changed'), [{ from: rig.seen[0]?.trustGeneration, to: rig.seen[1]?.trustGeneration }]);
  const asked = manager.state.asked.length;
  manager.state.up = false;
  await advanceUntil(clock, async () => (await rig.metric('sidelock_manager_up')) === 0);
  t.ok(rig.readiness.ready);
  t.equal(manager.state.asked.length, asked);
  t.equal(await failures(rig), undefined, 'a probe is no renewal');
});

t.test(
  'a full disk at renewal: the old trio serves on, the answer is kept, and written when there is room',
  async (t) => {
    const disk = await mkdtemp(join(tmpdir(), 'sl-full-'));
    t.teardown(() => rmdir(disk));
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0755', 'sidelock-test', disk]).status !== 0) {
      t.comment('NOT TESTED: no right to mount a tmpfs here');
      return;
    }
    t.teardown(() => spawnSync('umount', [disk]));
    const { start, manager, clock, trio } = await situation(t, { disk: { from: -DAY, to: 89 * DAY }, parent: disk });
    const rig = await start();
    const filler = join(disk, 'filler');
    await appendFile(filler, Buffer.alloc(1 << 20)).catch(() => {});
    await rig.source.renewNow();
    t.equal(rig.serial(), trio.serial);
    t.match(rig.events('renewal_failed'), [{ reason: 'disk', code: 'SL-FS-003' }]);
    await advanceUntil(clock, async () => ((await failures(rig, 'disk')) ?? 0) >= 3);
    t.equal(manager.state.asked.length, 1, 'asked once, not at each try');
    t.ok(rig.readiness.ready);
    await rm(filler);
    await advanceUntil(clock, () => rig.serial() !== trio.serial);
    t.equal(manager.state.asked.length, 1);
    t.same(
      (await readdir(join(disk, 'identity'))).filter((name) => /tmp|\.sidelock/.test(name)),
      [],
    );
  },
);

t.test('a full disk until the end of the leaf: the new one serves from memory', async (t) => {
  const disk = await mkdtemp(join(tmpdir(), 'sl-full-'));
  t.teardown(() => rmdir(disk));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0755', 'sidelock-test', disk]).status !== 0) {
    t.comment('NOT TESTED: no right to mount a tmpfs here');
    return;
  }
  t.teardown(() => spawnSync('umount', [disk]));
  const { start, clock, trio } = await situation(t, { disk: { from: -DAY, to: DAY }, parent: disk });
  const rig = await start();
  await appendFile(join(disk, 'filler'), Buffer.alloc(1 << 20)).catch(() => {});
  await rig.source.renewNow();
  t.equal(rig.serial(), trio.serial);
  clock.jump(DAY);
  await advanceUntil(clock, () => rig.serial() !== trio.serial);
  t.ok(rig.readiness.ready);
});
