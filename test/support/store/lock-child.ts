import { systemClock } from '../../../src/base/clock.ts';
import { isSidelockError } from '../../../src/base/errors.ts';
import { lockDirectory } from '../../../src/store/lock.ts';

/** Locks argv[2], prints `held` or the error code, and lets go when standard input ends. */
try {
  await using _ = await lockDirectory(process.argv[2] ?? '', { clock: systemClock });
  process.stdout.write('held\n');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
} catch (error) {
  if (!isSidelockError(error)) throw error;
  process.stdout.write(`${error.code}\n`);
}
