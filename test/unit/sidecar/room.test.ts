import t from 'tap';
import { DEFAULT_LIMITS } from '../../../src/sidecar/options.ts';
import { memoryGauge, withinProcess } from '../../../src/sidecar/room.ts';
import { divided } from '../../../src/sidecar/workers/divided.ts';
import { fakeClock } from '../../support/fake-clock.ts';

t.test('a process leaves descriptors to itself, and what is configured stands', async (t) => {
  const { maxDescriptors = 0 } = withinProcess(DEFAULT_LIMITS, 10);
  const less = withinProcess(DEFAULT_LIMITS, 110).maxDescriptors ?? 0;
  t.ok(maxDescriptors > 0);
  t.equal(maxDescriptors - less, 100);
  t.match(withinProcess({ ...DEFAULT_LIMITS, maxDescriptors: 7, maxMemory: 8 }, 10), {
    maxDescriptors: 7,
    maxMemory: 8,
  });
});

t.test('memory is looked at now and then, and the other way when it is free again', async (t) => {
  const clock = fakeClock();
  let rss = 90;
  let looks = 0;
  const gauge = memoryGauge(100, clock, 1, () => {
    looks++;
    return rss;
  });
  t.equal(gauge.short(0), false);
  rss = 110;
  t.equal(gauge.short(0), false);
  t.equal(looks, 1);
  await clock.advance(50);
  t.equal(gauge.short(0), true);
  rss = 90;
  await clock.advance(50);
  t.equal(gauge.short(0), false);
  t.equal(gauge.short(1), true, 'those that have just come will need more');
  t.ok(gauge.excess() < 0);
  rss = 120;
  await clock.advance(50);
  t.ok(gauge.excess() > 0, 'beyond the last mark those that are open have to go');
  t.equal(memoryGauge(undefined, clock).short(9), false);
});

t.test('of what is too much each of several threads sees its part, once', async (t) => {
  const clock = fakeClock();
  const limitsOfAll = { ...DEFAULT_LIMITS, maxMemory: 1000 };
  const own = { trustDomain: 'td', namespace: 'default', inbound: [], outbound: [] };
  const { limits } = divided({ ...own, limits: limitsOfAll }, 4);
  const gauge = memoryGauge(limits.maxMemory, clock, limits.threads, () => 1500);
  t.equal(gauge.excess(), (1500 - 1100) / 4);
  const roomy = memoryGauge(1 << 20, clock, 4, () => 1 << 19);
  t.equal(roomy.short(2), false);
  t.equal(roomy.short(3), true, 'the others have young ones too');
});
