import { isSidelockError } from '../../../src/base/errors.ts';
import { appendDurable, createExclusive, writeFileDurable } from '../../../src/store/files.ts';
import { writeGeneration } from '../../../src/store/generation.ts';

/** In argv[2], under a limit of the caller's choice: tries each way of writing and prints what it got, one JSON line. */
const dir = process.argv[2] ?? '';
const big = Buffer.alloc(64 << 10, 'x');
const results: unknown[] = [];
for (const write of [
  () => writeGeneration(dir, { 'cert.pem': { data: 'new', mode: 0o644 }, 'key.pem': { data: big, mode: 0o600 } }),
  () => writeFileDurable(`${dir}/cert.pem`, big, 0o600),
  () => createExclusive(`${dir}/used`, big, 0o600),
  () => appendDurable(`${dir}/audit.log`, big, 0o600),
]) {
  try {
    await write();
    results.push('written');
  } catch (error) {
    results.push(isSidelockError(error) ? { code: error.code, reason: error.data['reason'] } : String(error));
  }
}
process.stdout.write(JSON.stringify(results));
