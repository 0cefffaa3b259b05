import { createLogger } from '../../../src/base/log.ts';
import { watchDirectory } from '../../../src/store/watch.ts';

/** Watches argv[2] and prints one line a call; `close` as argv[3] disposes at once. It must end by itself. */
const [, , dir = '', what] = process.argv;
await using watching = await watchDirectory({
  dir,
  debounceMs: 10,
  pollMs: 3_600_000,
  log: createLogger({ level: 'info' }),
  onChange: async () => {
    process.stdout.write('changed\n');
  },
});
if (what === 'close') await watching[Symbol.asyncDispose]();
if (what === 'stay') {
  process.stdout.write('watching\n');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
}
