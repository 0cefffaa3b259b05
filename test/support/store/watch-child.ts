import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from '../../../src/base/log.ts';
import { watchDirectory } from '../../../src/store/watch.ts';

/** Watches argv[2] and prints one line a call; argv[3] says whether to close, stay or just leave. It must end by itself. */
const [, , dir = '', what] = process.argv;
const watching = await watchDirectory({
  dir,
  debounceMs: 10,
  pollMs: 3_600_000,
  log: createLogger({ level: 'info' }),
  onChange: async () => {
    const text = await readFile(join(dir, 'cert.pem'), 'utf8');
    process.stdout.write(`read ${text}\n`);
  },
});
if (what === 'stay') {
  process.stdout.write('watching\n');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
}
if (what !== 'leave') await watching[Symbol.asyncDispose]();
