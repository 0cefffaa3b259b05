import t from 'tap';
import { fuzzRequests } from '../../../support/http-fuzz.ts';
import { fuzzResponses } from '../../../support/http-response-fuzz.ts';

/** The long form is `npm run fuzz:http`. */
const INPUTS = 100_000;
const RESPONSE_INPUTS = 30_000;

t.test('mutated requests: we take nothing that Node refuses, and both end bodies at the same byte', async (t) => {
  const { findings, accepted, refused } = fuzzRequests(1, INPUTS);
  t.strictSame(findings, []);
  t.ok(accepted > INPUTS / 10 && refused > INPUTS / 10, 'the mutations are neither too tame nor too wild');
  t.comment(`${INPUTS} inputs: ${accepted} requests accepted, ${refused} inputs refused`);
});

t.test('mutated responses: the same, and a connection is used again only where Node would', async (t) => {
  const { findings, accepted, refused } = fuzzResponses(1, RESPONSE_INPUTS);
  t.strictSame(findings, []);
  t.ok(
    accepted > RESPONSE_INPUTS / 10 && refused > RESPONSE_INPUTS / 10,
    'the mutations are neither too tame nor too wild',
  );
  t.comment(`${RESPONSE_INPUTS} inputs: ${accepted} responses accepted, ${refused} inputs refused`);
});
