import t from 'tap';
import { boundBuffers, dropSpare, giveBuffer, takeBuffer, takeConnectionBuffer } from '../../../src/sidecar/buffers.ts';
import { DEFAULT_LIMITS } from '../../../src/sidecar/options.ts';
import { createRefusals } from '../../../src/sidecar/refusals.ts';
import { startRelief } from '../../../src/sidecar/relief.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/identity-fakes.ts';
import { until } from '../../support/until.ts';

t.test('memory is short: spare buffers and garbage go first, then who holds most', async (t) => {
  const clock = fakeClock();
  const { log, events } = recordingLog();
  const seen = { short: false, heavy: 0, collected: 0 };
  const memory = {
    short: () => seen.short,
    lookAgain() {
      seen.collected++;
      // A collection that takes its time.
      clock.jump(10);
    },
    sockets: () => 0,
    excess: () => 0,
  };
  const relief = startRelief({
    clock,
    limits: { ...DEFAULT_LIMITS, maxMemory: 1 << 20 },
    refusals: createRefusals(log, clock),
    connections: { memory, relieve: () => seen.heavy },
  });
  t.teardown(() => boundBuffers(Number.POSITIVE_INFINITY));
  const large = takeConnectionBuffer();
  t.ok(takeConnectionBuffer().length < large.length, 'an eighth of the memory is for large buffers');
  giveBuffer(large);
  seen.short = true;
  await until(() => seen.collected > 0);
  t.not(takeBuffer(), large);
  t.equal(dropSpare(), 0);
  t.same(events('memory_relieved'), []);
  seen.heavy = 3;
  await until(() => seen.collected > 1);
  t.match(events('memory_relieved'), [{ code: 'SL-LIMIT-006', closed: 3 }]);
  relief[Symbol.dispose]();
});

t.test('without a limit nothing is looked at', (t) => {
  const clock = fakeClock();
  const relief = startRelief({
    clock,
    limits: DEFAULT_LIMITS,
    refusals: createRefusals(recordingLog().log, clock),
    connections: {
      get memory(): never {
        throw new Error('it was looked at');
      },
      relieve: () => 0,
    },
  });
  const [first, second] = [takeConnectionBuffer(), takeConnectionBuffer()];
  t.equal(first.length, second.length);
  relief[Symbol.dispose]();
  t.end();
});
