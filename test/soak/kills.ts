import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Killed, killManagers } from '../support/manager/kills.ts';

/** `npm run soak:kills -- --rounds 200` */
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '200' } } });
const directory = await mkdtemp(join(tmpdir(), 'sidelock-kills-'));
const counts = new Map<string, number>();
const began = performance.now();
try {
  await killManagers(directory, Number(values.rounds), (round, { operation, outcome }: Killed) => {
    const key = `${operation} ${outcome}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    process.stdout.write(`${round + 1} ${key}\n`);
  });
} finally {
  await rm(directory, { recursive: true, force: true });
}
process.stdout.write(`${values.rounds} kills in ${Math.round((performance.now() - began) / 1000)} s\n`);
for (const [key, count] of [...counts].sort()) process.stdout.write(`  ${key.padEnd(18)} ${count}\n`);
