// A manager with many services and sidecars: what starting, scanning, listing and signing take, and a storm of renewals.
// Usage: node bench/fleet/main.ts [store|sign|storm] [COUNT]      (all three unless given; see the defaults below)
import { fleetSign } from './sign.ts';
import { fleetStore } from './store.ts';
import { fleetStorm } from './storm.ts';

const PARTS = {
  store: { run: fleetStore, count: 10_000 },
  sign: { run: fleetSign, count: 1_000 },
  storm: { run: fleetStorm, count: 1_000 },
} as const;

const [wanted, given] = process.argv.slice(2);
const chosen = Object.entries(PARTS).filter(([name]) => wanted === undefined || name === wanted);
const count = given === undefined ? undefined : Number(given);
if (chosen.length === 0 || (count !== undefined && !Number.isInteger(count))) {
  throw new Error('give one of store, sign and storm, and a whole number');
}
let missed = 0;
for (const [, { run, count: usual }] of chosen) missed += await run(count ?? usual);
if (missed > 0) process.stdout.write(`${missed} targets missed\n`);
process.exitCode = missed > 0 ? 1 : 0;
