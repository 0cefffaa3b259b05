import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { lockDirectory } from '../../../src/store/lock.ts';
import { thisProcess } from '../../../src/store/process.ts';

const CHILD = join(import.meta.dirname, '../../support/store/lock-child.ts');
const clock = systemClock;

/** With a path short enough for a unix socket in it. */
async function directory(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sl-lock-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Starts a process that locks `dir`; resolves with it and the first line it says. */
async function contender(
  t: Test,
  dir: string,
  wrap: string[] = [],
): Promise<{ child: ChildProcessWithoutNullStreams; said: string }> {
  const [command = '', ...args] = [...wrap, process.execPath, CHILD, dir];
  const child = spawn(command, args);
  t.teardown(() => child.kill('SIGKILL'));
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return { child, said: String(value) };
}

/** A claim as a process of another life left it. */
async function leaveClaim(dir: string, claim: Record<string, unknown>): Promise<string> {
  const path = join(dir, 'lock.0123456789abcdef');
  await writeFile(path, JSON.stringify({ ...(await thisProcess()), since: 0, socket: false, ...claim }));
  return path;
}

t.test('it makes the directory, and letting go leaves nothing', async (t) => {
  const dir = join(await directory(t), '.sidelock');
  const lock = await lockDirectory(dir, { clock });
  t.match((await readdir(dir)).sort(), [/^lock\.[0-9a-f]{16}$/, /^lock\.[0-9a-f]{16}\.sock$/]);
  await lock[Symbol.asyncDispose]();
  t.strictSame(await readdir(dir), []);
  await (await lockDirectory(dir, { clock }))[Symbol.asyncDispose]();
});

t.test('a second process is refused by pid, host and time, and gets it when the first lets go', async (t) => {
  const dir = await directory(t);
  const { child, said } = await contender(t, dir);
  t.equal(said, 'held');
  await t.rejects(lockDirectory(dir, { clock }), {
    code: 'SL-STORE-002',
    message: new RegExp(`another manager \\(pid ${child.pid}, host ${hostname()}, since 20.*Z\\) holds`),
    data: { pid: child.pid, host: hostname() },
  });
  child.stdin.end();
  await once(child, 'exit');
  await using _ = await lockDirectory(dir, { clock });
  t.equal((await contender(t, dir)).said, 'SL-STORE-002', 'and the other way round');
});

t.test('the lock of a process that was killed is taken over', async (t) => {
  const dir = await directory(t);
  const { child } = await contender(t, dir);
  await writeFile(join(dir, '.root.key.0123456789abcdef.tmp'), 'half');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.ok((await readdir(dir)).length >= 3, 'it left its claim, its socket and a temporary file');
  await using _ = await lockDirectory(dir, { clock });
  t.equal((await readdir(dir)).length, 2, 'only ours are there');
});

t.test('a pid that another process has now does not count', async (t) => {
  const dir = await directory(t);
  await leaveClaim(dir, { startTime: '1' });
  await using _ = await lockDirectory(dir, { clock });
  t.pass('our own pid with another start time is not the holder');
});

t.test('the same process may not lock twice', async (t) => {
  const dir = await directory(t);
  await using _ = await lockDirectory(dir, { clock });
  await t.rejects(lockDirectory(dir, { clock }), { code: 'SL-STORE-002', data: { pid: process.pid } });
});

t.test('a claim from before a reboot is dead, one of another machine is not judged', async (t) => {
  const dir = await directory(t);
  await leaveClaim(dir, { boot: 'an earlier one' });
  await (await lockDirectory(dir, { clock }))[Symbol.asyncDispose]();
  const path = await leaveClaim(dir, { boot: 'another kernel', host: 'vm-3', pid: 812 });
  await t.rejects(lockDirectory(dir, { clock }), {
    code: 'SL-STORE-002',
    message: /pid 812, host vm-3/,
    fix: new RegExp(`When its host is gone for good: rm ${path}`),
  });
  t.strictSame(await readdir(dir), ['lock.0123456789abcdef'], 'the refused one leaves nothing of its own');
});

t.test('a damaged claim is reported, not guessed at', async (t) => {
  const dir = await directory(t);
  await writeFile(join(dir, 'lock.0123456789abcdef'), '{');
  await t.rejects(lockDirectory(dir, { clock }), { code: 'SL-STORE-003', message: /lock\.0123456789abcdef/ });
});

t.test('of eight processes that start together one gets it', async (t) => {
  const dir = await directory(t);
  await leaveClaim(dir, { startTime: '1' });
  const all = await Promise.all(Array.from({ length: 8 }, () => contender(t, dir)));
  t.strictSame(all.map(({ said }) => said).sort(), [...Array.from({ length: 7 }, () => 'SL-STORE-002'), 'held']);
});

t.test('the earlier of two that meet waits for the later one to give up, for a moment', async (t) => {
  const dir = await directory(t);
  const path = await leaveClaim(dir, { since: Date.now() + 60_000 });
  const waiting = lockDirectory(dir, { clock });
  await delay(100);
  await rm(path);
  await (await waiting)[Symbol.asyncDispose]();
  await leaveClaim(dir, { since: Date.now() + 60_000 });
  await t.rejects(lockDirectory(dir, { clock }), { code: 'SL-STORE-002' }, 'but not for ever');
});

t.test('a path too long for a socket is locked by pid alone', async (t) => {
  const dir = join(await directory(t), 'x'.repeat(100));
  const { child, said } = await contender(t, dir);
  t.equal(said, 'held');
  await t.rejects(lockDirectory(dir, { clock }), { code: 'SL-STORE-002' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using _ = await lockDirectory(dir, { clock });
  t.equal((await readdir(dir)).length, 1);
});

const NAMESPACE = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child', '--mount-proc'];
const canNamespace = spawnSync('unshare', [...NAMESPACE.slice(1), 'true']).status === 0;

t.test('containers on one machine: pids mean nothing, the socket tells', { skip: !canNamespace }, async (t) => {
  const dir = await directory(t);
  const first = await contender(t, dir, NAMESPACE);
  t.equal(first.said, 'held');
  const [name = ''] = await readdir(dir);
  t.equal(JSON.parse(await readFile(join(dir, name), 'utf8')).pid, 1);
  t.equal((await contender(t, dir, NAMESPACE)).said, 'SL-STORE-002', 'the other container is alive');
  const children = await readFile(`/proc/${first.child.pid}/task/${first.child.pid}/children`, 'utf8');
  process.kill(Number(children.trim()), 'SIGKILL');
  await once(first.child, 'exit');
  const again = await contender(t, dir, NAMESPACE);
  t.equal(again.said, 'held', 'a new container takes over from one that was killed');
});
