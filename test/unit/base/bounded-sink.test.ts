import { Writable } from 'node:stream';
import t from 'tap';
import { boundedSink, droppedLines } from '../../../src/base/bounded-sink.ts';

t.test('what the reader leaves no room for is dropped, counted, and told of afterwards', async (t) => {
  const taken: string[] = [];
  let release: (() => void) | undefined;
  const stream = new Writable({
    highWaterMark: 10,
    write(chunk, _encoding, done) {
      taken.push(String(chunk));
      release = done;
    },
  });
  const sink = boundedSink(stream, (lines) => `lost ${lines}\n`, 30);
  const before = droppedLines();
  for (const word of ['first', 'second', 'third', 'fourth', 'fifth', 'sixth']) sink.write(`${word}${'.'.repeat(4)}\n`);
  t.equal(droppedLines() - before, 4);
  while (release !== undefined) {
    const next = release;
    release = undefined;
    next();
    await new Promise(setImmediate);
  }
  t.same(taken, ['first....\n', 'second....\n', 'lost 4\n']);

  stream.destroy(new Error('EPIPE'));
  await new Promise(setImmediate);
  sink.write('nobody\n');
  t.equal(droppedLines() - before, 5, 'and without its reader nothing is thrown');
});
