import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { WriteStream } from 'node:tty';
import t from 'tap';
import { createProgress } from '../../../src/cli/progress.ts';

function stream(isTTY: boolean) {
  const sink = new PassThrough();
  const chunks: string[] = [];
  sink.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  const fake: WriteStream = Object.assign(Object.create(WriteStream.prototype), {
    isTTY,
    write: sink.write.bind(sink),
  });
  return { fake, sink, chunks };
}

t.test('short work says nothing', async (t) => {
  const { fake, chunks } = stream(true);
  t.equal(await createProgress({ stream: fake, quiet: false }).during('making a key', async () => 7), 7);
  t.strictSame(chunks, []);
});

t.test('on a terminal: one line that is rewritten and removed', async (t) => {
  const { fake, sink, chunks } = stream(true);
  const progress = createProgress({ stream: fake, quiet: false, delayMs: 0 });
  const keepAlive = setInterval(() => {}, 1_000);
  await progress.during('making a key', async () => {
    await once(sink, 'data');
    progress.tell('signing');
    await once(sink, 'data');
  });
  clearInterval(keepAlive);
  t.strictSame(chunks, ['\r| making a key\u001b[K', '\r| signing\u001b[K', '\r\u001b[K']);
});

t.test('elsewhere: plain lines', async (t) => {
  const { fake, sink, chunks } = stream(false);
  const progress = createProgress({ stream: fake, quiet: false, delayMs: 0 });
  const keepAlive = setInterval(() => {}, 1_000);
  await progress.during('making a key', async () => {
    await once(sink, 'data');
    progress.tell('signing');
    await once(sink, 'data');
  });
  clearInterval(keepAlive);
  t.strictSame(chunks, ['making a key\n', 'signing\n']);
});

t.test('what fails, fails', async (t) => {
  const { fake } = stream(false);
  const work = createProgress({ stream: fake, quiet: true }).during('x', async () => {
    throw new Error('no');
  });
  await t.rejects(work, { message: 'no' });
});
