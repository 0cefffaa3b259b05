import t from 'tap';
import { REQUESTS } from '../../../support/http-corpus.ts';
import { cuts, expected, passRequests } from '../../../support/http-pure.ts';

const NEXT = 'GET /next HTTP/1.1\r\nHost: n\r\n';
const NEXT_OUTCOME = { forward: NEXT, body: '' };

for (const direction of ['inbound', 'outbound'] as const) {
  t.test(`${direction}: every row, whole, cut everywhere, byte by byte, and in front of another request`, async (t) => {
    let runs = 0;
    for (const { id, what, bytes, want } of REQUESTS) {
      const outcomes = want.map((outcome) => expected(outcome, direction));
      const refused = outcomes.some((outcome) => !('forward' in outcome));
      const wrong: unknown[] = [];
      for (const pieces of cuts(bytes)) {
        const passed = passRequests(pieces, direction);
        runs++;
        if (!same(passed.outcomes, outcomes) || !passed.whole) wrong.push([pieces[0]?.length, passed.outcomes]);
      }
      const follow = passRequests([Buffer.from(`${bytes}${NEXT}\r\n`, 'latin1')], direction).outcomes;
      const before = passRequests([Buffer.from(`${NEXT}\r\n${bytes}`, 'latin1')], direction).outcomes;
      runs += 2;
      t.strictSame(wrong.slice(0, 2), [], `${id} ${what} ${JSON.stringify(bytes.slice(0, 60))}`);
      t.strictSame(follow, refused ? outcomes : [...outcomes, NEXT_OUTCOME], `${id} with another behind it`);
      t.strictSame(before, [NEXT_OUTCOME, ...outcomes], `${id} behind another`);
    }
    t.comment(`${REQUESTS.length} rows, ${runs} runs`);
  });
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
