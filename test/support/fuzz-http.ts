import { parseArgs } from 'node:util';
import { fuzzRequests } from './http-fuzz.ts';

/** `npm run fuzz:http -- --inputs 2000000 --seed 1`: the long form of what the tests run. */
const { values } = parseArgs({
  options: { inputs: { type: 'string', default: '2000000' }, seed: { type: 'string', default: '1' } },
});
const started = performance.now();
const { findings, accepted, refused } = fuzzRequests(Number(values.seed), Number(values.inputs));
const seconds = Math.round((performance.now() - started) / 1_000);
process.stdout.write(
  `${values.inputs} inputs from seed ${values.seed} in ${seconds} s: ${accepted} requests accepted, ${refused} inputs refused, ${findings.length} findings\n`,
);
for (const { seed, what, bytes } of findings)
  process.stdout.write(`seed ${seed}: ${what}\n  ${JSON.stringify(bytes)}\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
