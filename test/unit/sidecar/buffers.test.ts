import t from 'tap';
import {
  boundBuffers,
  dropSpare,
  giveBuffer,
  highWater,
  loseBuffer,
  takeBuffer,
  takeConnectionBuffer,
} from '../../../src/sidecar/buffers.ts';

const LARGE = 256 << 10;
const SMALL = 128 << 10;

t.test(
  'beyond what there is plenty of buffers of connections are small, until others come back or are lost',
  async (t) => {
    boundBuffers(2 * LARGE);
    t.teardown(() => boundBuffers(Number.POSITIVE_INFINITY));
    const [first, second] = [takeConnectionBuffer(), takeConnectionBuffer()];
    t.same([first.length, second.length], [LARGE, LARGE]);
    const [small, smaller] = [takeConnectionBuffer(), takeConnectionBuffer()];
    t.same([small.length, smaller.length], [SMALL, SMALL]);
    small.fill(1);
    smaller.fill(2);
    t.equal(small.at(-1), 1, 'each has memory of its own');
    t.ok(highWater(small) > 0);
    const ofLink = takeBuffer();
    t.equal(ofLink.length, LARGE, 'a shared connection needs a large one');
    for (const one of [ofLink, small, smaller]) giveBuffer(one);
    t.ok([small, smaller].includes(takeConnectionBuffer()), 'small ones count for nothing, and are used again');
    giveBuffer(first);
    const again = takeConnectionBuffer();
    t.equal(again.length, LARGE);
    t.equal(takeConnectionBuffer().length, SMALL);
    loseBuffer(again);
    const after = takeConnectionBuffer();
    t.equal(after.length, LARGE);
    for (const one of [second, after]) giveBuffer(one);
    t.ok(dropSpare() >= 2 * LARGE);
    t.equal(dropSpare(), 0);
  },
);
