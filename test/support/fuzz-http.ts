import { parseArgs } from 'node:util';
import { fuzzRequests } from './http-fuzz.ts';
import { fuzzResponses } from './http-response-fuzz.ts';

/** `npm run fuzz:http -- --inputs 2000000 --seed 1 [--responses]`: the long form of what the tests run. */
const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '2000000' },
    seed: { type: 'string', default: '1' },
    responses: { type: 'boolean', default: false },
  },
});
const started = performance.now();
const fuzz = values.responses ? fuzzResponses : fuzzRequests;
const { findings, accepted, refused } = fuzz(Number(values.seed), Number(values.inputs));
const seconds = Math.round((performance.now() - started) / 1_000);
process.stdout.write(
  `${values.inputs} inputs from seed ${values.seed} in ${seconds} s: ${accepted} ${values.responses ? 'responses' : 'requests'} accepted, ${refused} inputs refused, ${findings.length} findings\n`,
);
for (const { seed, what, bytes } of findings)
  process.stdout.write(`seed ${seed}: ${what}\n  ${JSON.stringify(bytes)}\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
