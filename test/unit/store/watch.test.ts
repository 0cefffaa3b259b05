import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { readGeneration, writeGeneration } from '../../../src/store/generation.ts';
import { watchDirectory } from '../../../src/store/watch.ts';
import { recordingLogger } from '../../support/store/log-lines.ts';
import { until } from '../../support/until.ts';

const NEVER = 3_600_000;
const CHILD = join(import.meta.dirname, '../../support/store/watch-child.ts');

// A watch keeps no process alive, and these tests wait for nothing else.
const alive = setInterval(() => undefined, 1_000);
t.teardown(() => clearInterval(alive));

/** Watches `dir` and reads `cert.pem` at each call, as an identity source does. */
async function watchCert(t: Test, dir: string, options: { pollMs?: number; debounceMs?: number } = {}) {
  const { log, events } = recordingLogger();
  const seen: Array<string | undefined> = [];
  let waiting: { text: string; found: () => void } | undefined;
  const watching = await watchDirectory({
    dir,
    debounceMs: 20,
    pollMs: NEVER,
    ...options,
    log,
    onChange: async () => {
      const text = (await readGeneration(dir, ['cert.pem'])).get('cert.pem')?.data.toString();
      seen.push(text);
      if (waiting !== undefined && waiting.text === text) waiting.found();
    },
  });
  t.teardown(() => watching[Symbol.asyncDispose]());
  return {
    seen,
    events,
    watching,
    /** Resolves when a call has read `text`. */
    see: (text: string) =>
      new Promise<void>((found) => {
        waiting = { text, found };
        if (seen.at(-1) === text) found();
      }),
  };
}

const cert = (text: string) => ({ 'cert.pem': { data: text, mode: 0o644 } });

t.test('it calls once at the start, so that nothing is missed before', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'first' });
  const { see } = await watchCert(t, dir);
  await see('first');
});

t.test('50 swaps in a second end in the last one, with few calls', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, cert('0'));
  const { see, seen } = await watchCert(t, dir, { debounceMs: 100 });
  const start = performance.now();
  for (let i = 1; i <= 50; i++) {
    await writeGeneration(dir, cert(String(i)));
    await delay(Math.max(0, start + i * 20 - performance.now()));
  }
  await see('50');
  const longest = (performance.now() - start) / 100;
  t.ok(seen.length <= longest + 2, `${seen.length} calls for 50 swaps`);
});

t.test('plain overwriting is seen, also with the same size and modification time', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  const { see } = await watchCert(t, dir);
  await see('one');
  const { atime, mtime } = await stat(join(dir, 'cert.pem'));
  await writeFile(join(dir, 'cert.pem'), 'two');
  await utimes(join(dir, 'cert.pem'), atime, mtime);
  await see('two');
  await writeFile(join(dir, 'next'), 'three');
  await rename(join(dir, 'next'), join(dir, 'cert.pem'));
  await see('three');
});

t.test('a write through the links into the generation is seen', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, cert('one'));
  const { see } = await watchCert(t, dir);
  await see('one');
  await writeGeneration(dir, cert('two'));
  await see('two');
  // The watch of a new generation begins a little after the swap, so the write may have to be repeated.
  let found = false;
  const seeing = see('by hand').then(() => {
    found = true;
  });
  const write = async () => {
    if (!found) await writeFile(join(dir, 'cert.pem'), 'by hand');
    return found;
  };
  await until(write, { every: 50 });
  await seeing;
});

t.test('a directory that is deleted and made again is watched on, any number of times', async (t) => {
  const root = t.testdir();
  const dir = join(root, 'identity');
  await mkdir(dir);
  const { see } = await watchCert(t, dir, { pollMs: 500 });
  for (let i = 0; i < 15; i++) {
    await rm(dir, { recursive: true });
    await mkdir(dir);
    await writeFile(join(dir, 'cert.pem'), `made ${i}`);
    await see(`made ${i}`);
    await writeFile(join(dir, 'cert.pem'), `written ${i}`);
    await see(`written ${i}`);
  }
});

t.test('a directory that comes later, with its parent, is found', async (t) => {
  const dir = join(t.testdir(), 'not', 'yet');
  const { see } = await watchCert(t, dir, { pollMs: 200 });
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'cert.pem'), 'here');
  await see('here');
});

t.test('a directory reached by a link is watched, and the new one when the link changes', async (t) => {
  const root = t.testdir({ a: { 'cert.pem': 'a' }, b: { 'cert.pem': 'b' } });
  await symlink('a', join(root, 'link'));
  const pollMs = 1_500;
  const { see } = await watchCert(t, join(root, 'link'), { pollMs });
  await see('a');
  await writeFile(join(root, 'a', 'cert.pem'), 'a2');
  await see('a2');
  await symlink('b', join(root, 'next'));
  await rename(join(root, 'next'), join(root, 'link'));
  await see('b');
  const start = performance.now();
  for (let i = 0; i < 10; i++) {
    await writeFile(join(root, 'b', 'cert.pem'), `b${i}`);
    await see(`b${i}`);
  }
  t.ok(performance.now() - start < 5 * pollMs, 'ten changes were seen by the watch, not by ten polls');
});

t.test('dangling links and loops disturb nothing', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  await symlink('nowhere', join(dir, 'key.pem'));
  await symlink('loop', join(dir, 'loop'));
  const { see, events } = await watchCert(t, dir);
  await see('one');
  await rm(join(dir, 'cert.pem'));
  await symlink('nowhere', join(dir, 'cert.pem'));
  await writeFile(join(dir, 'nowhere'), 'two');
  await see('two');
  t.strictSame(events(), [], 'nothing is logged');
});

t.test('reading the files causes no further call', async (t) => {
  const dir = t.testdir();
  await writeGeneration(dir, cert('one'));
  const { see, seen } = await watchCert(t, dir);
  await see('one');
  await writeGeneration(dir, cert('two'));
  await see('two');
  await delay(200);
  const settled = seen.length;
  await delay(600);
  t.equal(seen.length, settled);
});

t.test('a slow call is never overlapped; what came meanwhile causes one more', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  const { log } = recordingLogger();
  const entered: Array<() => void> = [];
  let running = 0;
  let calls = 0;
  let entering = Promise.withResolvers<void>();
  const watching = await watchDirectory({
    dir,
    debounceMs: 5,
    pollMs: 5,
    log,
    onChange: async () => {
      calls++;
      t.equal(++running, 1);
      entering.resolve();
      await new Promise<void>((leave) => entered.push(leave));
      running--;
    },
  });
  await entering.promise;
  await delay(100);
  t.equal(calls, 1, 'twenty polls later the first call still runs alone');
  entering = Promise.withResolvers<void>();
  entered.shift()?.();
  await entering.promise;
  const closing = watching[Symbol.asyncDispose]();
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  await delay(20);
  t.equal(closed, false, 'closing waits for the call');
  entered.shift()?.();
  await closing;
  t.equal(calls, 2);
});

t.test('a call that fails is logged and the watch goes on', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  const { log, events } = recordingLogger();
  const third = Promise.withResolvers<void>();
  let calls = 0;
  await using _ = await watchDirectory({
    dir,
    debounceMs: 5,
    pollMs: 10,
    log,
    onChange: async () => {
      if (++calls === 3) third.resolve();
      throw new Error('broken set');
    },
  });
  await third.promise;
  t.ok(events().includes('watch_failed'));
});

t.test('an abort ends it like disposal; aborted before the start it never calls', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  const { log } = recordingLogger();
  const abort = new AbortController();
  let calls = 0;
  const options = { dir, debounceMs: 5, pollMs: 5, log, signal: abort.signal, onChange: async () => void calls++ };
  const watching = await watchDirectory(options);
  abort.abort();
  await watching[Symbol.asyncDispose]();
  calls = 0;
  await writeFile(join(dir, 'cert.pem'), 'two');
  await using _ = await watchDirectory(options);
  await delay(100);
  t.equal(calls, 0);
});

t.test('a process that only watches ends by itself, closed or not', async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  for (const what of ['close', 'leave']) {
    const { status, signal } = spawnSync(process.execPath, [CHILD, dir, what], { timeout: 20_000 });
    t.strictSame({ status, signal }, { status: 0, signal: null }, what);
  }
});

const LIMIT = 'echo 0 > /proc/sys/user/max_inotify_instances';
const NAMESPACED = ['--user', '--map-root-user', 'sh', '-c'];
const canExhaust = spawnSync('unshare', [...NAMESPACED, LIMIT]).status === 0;
const skip = canExhaust ? false : 'this system gives no user namespace in which inotify could be exhausted';

t.test('with no inotify instance left it polls, after one warning', { skip }, async (t) => {
  const dir = t.testdir({ 'cert.pem': 'one' });
  const child = spawn('unshare', [...NAMESPACED, `${LIMIT}; exec "$0" "$@"`, process.execPath, CHILD, dir, 'stay']);
  t.teardown(() => child.kill());
  const errors: string[] = [];
  child.stderr.on('data', (data: Buffer) => errors.push(data.toString()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  t.equal((await lines.next()).value, 'watching');
  for (const text of ['second', 'the third']) {
    await writeFile(join(dir, 'cert.pem'), text);
    await until(async () => (await lines.next()).value === `read ${text}`);
    t.pass(`polling saw ${text}`);
  }
  child.stdin.end();
  const [code] = await once(child, 'exit');
  t.equal(code, 0);
  const warnings = errors.join('').trim().split('\n');
  t.equal(warnings.length, 1);
  t.match(JSON.parse(warnings[0] ?? ''), { event: 'watch_polling', reason: 'EMFILE', level: 40 });
});
