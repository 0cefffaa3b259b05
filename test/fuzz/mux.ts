import { setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { framesGiven, fuzzMux } from '../support/mux-fuzz.ts';

/** npm run fuzz:mux -- --inputs 200000 [--seed 1]; an input is some 14 frames, and a dialogue more. */
const { values } = parseArgs({
  options: { inputs: { type: 'string', default: '200000' }, seed: { type: 'string', default: '1' } },
});
const ROUND = 1_000;

const total = new Map<string, number>();
const began = performance.now();
let done = 0;
for (let seed = Number(values.seed); done < Number(values.inputs); seed++) {
  const inputs = Math.min(ROUND, Number(values.inputs) - done);
  for (const [reason, n] of fuzzMux(inputs, seed)) total.set(reason, (total.get(reason) ?? 0) + n);
  done += inputs;
  // Memory of buffers is given back in turns of the loop only: without one, all that ever was adds up.
  await turn();
  await turn();
  const { rss } = process.memoryUsage();
  if (done % 20_000 === 0)
    process.stderr.write(`${done} inputs, ${framesGiven()} frames, seed ${seed}, ${Math.round(rss / 1e6)} MB\n`);
}
const reasons = [...total].sort(([, a], [, b]) => b - a);
for (const [reason, n] of reasons) process.stdout.write(`${String(n).padStart(9)} ${reason}\n`);
process.stdout.write(
  `${done} inputs of ${framesGiven()} frames in ${((performance.now() - began) / 1000).toFixed(1)} s: no crash, each has a reason\n`,
);
