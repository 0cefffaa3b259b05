import t from 'tap';
import { inUse } from '../../../support/memory.ts';
import { cutEverywhere, fuzzMux } from '../../../support/mux-fuzz.ts';

const INPUTS = 5_000;

t.test(`${INPUTS} hostile inputs end with a reason each, and nothing grows`, async (t) => {
  fuzzMux(1_000, 1);
  const before = await inUse();
  const outcome = fuzzMux(INPUTS, 2);
  const grown = (await inUse()) - before;
  for (const reason of [
    'dialogue',
    'keepalive_timeout',
    'unknown_stream',
    'id_reused',
    'bad_flags',
    'window_exceeded',
  ]) {
    t.ok((outcome.get(reason) ?? 0) > 0, `${reason}: ${outcome.get(reason)}`);
  }
  t.ok(grown < 16 << 20, `${grown} bytes`);
});

t.test('a peer that falls silent at any byte is given up', async (t) => {
  const reasons = [...cutEverywhere(7).keys()].sort();
  t.same(reasons, ['keepalive_timeout']);
});
