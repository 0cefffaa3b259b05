import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { writeGeneration } from '../../../src/store/generation.ts';

/** Says `ready`, reads a directory and a number from standard input, then writes generations until it is killed. */
writeSync(1, 'ready\n');
const [line] = await once(process.stdin, 'data');
const [directory = '', first = ''] = String(line).trim().split(' ');
for (let mark = Number(first); ; mark++) {
  await writeGeneration(directory, {
    'cert.pem': { data: `cert ${mark}`, mode: 0o644 },
    'key.pem': { data: `key ${mark}`, mode: 0o600 },
    'ca.pem': { data: `ca ${mark}`, mode: 0o644 },
  });
  writeSync(1, `${mark}\n`);
}
