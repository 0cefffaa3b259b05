import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { overwrite, swap, testAuthority } from '../support/identity-files.ts';

const CHILD = join(import.meta.dirname, '../support/identity-child.ts');
const authority = testAuthority();

const LIMIT = 'echo 0 > /proc/sys/user/max_inotify_instances';
const NAMESPACED = ['--user', '--map-root-user', 'sh', '-c'];
const canExhaust = spawnSync('unshare', [...NAMESPACED, LIMIT]).status === 0;
const skip = canExhaust ? false : 'this system gives no user namespace in which inotify could be exhausted';

/** Follows what a child takes up. */
function follow(t: Test, child: ChildProcessWithoutNullStreams) {
  t.teardown(() => child.kill());
  const log: string[] = [];
  child.stderr.on('data', (data: Buffer) => log.push(data.toString()));
  const serials = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    next: async () => (await serials.next()).value,
    lines: () =>
      log
        .join('')
        .split('\n')
        .filter(Boolean)
        .map((line): Record<string, unknown> => JSON.parse(line)),
    async end() {
      const closed = once(child, 'close');
      child.stdin.end();
      return (await closed)[0];
    },
  };
}

t.test('F19: no inotify instance is left: one warning, and changes are taken up all the same', { skip }, async (t) => {
  const directory = t.testdir();
  const [first, second, third] = [authority.issue(), authority.issue(), authority.issue()];
  await swap(directory, first);
  const child = follow(
    t,
    spawn('unshare', [...NAMESPACED, `${LIMIT}; exec "$0" "$@"`, process.execPath, CHILD, directory]),
  );
  t.equal(await child.next(), first.serial);
  await swap(directory, second);
  t.equal(await child.next(), second.serial);
  await overwrite(directory, third);
  t.equal(await child.next(), third.serial);
  t.equal(await child.end(), 0);
  const warnings = child.lines().filter(({ event }) => event === 'watch_polling');
  t.match(warnings, [{ level: 40, reason: 'EMFILE' }]);
  t.equal(warnings.length, 1);
});

t.test('a process with an identity source ends by itself when the source has ended', async (t) => {
  const directory = t.testdir();
  const trio = authority.issue();
  await swap(directory, trio);
  const child = follow(t, spawn(process.execPath, [CHILD, directory]));
  t.equal(await child.next(), trio.serial);
  t.equal(await child.end(), 0);
  t.same(
    child.lines().filter(({ level }) => Number(level) > 30),
    [],
  );
});
