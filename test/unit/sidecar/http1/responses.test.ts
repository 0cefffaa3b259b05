import t from 'tap';
import { RESPONSES } from '../../../support/http-corpus.ts';
import { cuts, passResponse } from '../../../support/http-pure.ts';

t.test('every response row, whole, cut everywhere and byte by byte', async (t) => {
  let runs = 0;
  for (const row of RESPONSES) {
    const wrong: unknown[] = [];
    for (const pieces of cuts(row.bytes)) {
      const got = passResponse(pieces, row);
      runs++;
      if (JSON.stringify(got) !== JSON.stringify(row.want)) wrong.push([pieces[0]?.length, got]);
    }
    t.strictSame(wrong.slice(0, 2), [], `${row.id} ${row.what} ${JSON.stringify(row.bytes.slice(0, 60))}`);
  }
  t.comment(`${RESPONSES.length} rows, ${runs} runs`);
});
