import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { socketCounter } from '../../../src/sidecar/container-memory.ts';
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
  const own = () => {
    looks++;
    return rss;
  };
  const gauge = memoryGauge(100, clock, 1, { own, sockets: () => 0 });
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
  const gauge = memoryGauge(limits.maxMemory, clock, limits.threads, { own: () => 1000, sockets: () => 500 });
  t.equal(gauge.excess(), (1500 - 1100) / 4);
  t.equal(gauge.sockets(), 500 / 4);
  const roomy = memoryGauge(1 << 21, clock, 4, { own: () => 1 << 20, sockets: () => 0 });
  t.equal(roomy.short(2), false);
  t.equal(roomy.short(3), true, 'the others have young ones too');
});

t.test('what waits in the kernel for sockets is found wherever a container sees its group', async (t) => {
  const v2 = { 'memory.stat': 'anon 1\nsock 4096\nsock_other 7\n' };
  const counted = (membership: string, files: Record<string, string>) => {
    const mount = t.testdir({ membership, files: {} });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(mount, 'files', file)), { recursive: true });
      writeFileSync(join(mount, 'files', file), text);
    }
    return socketCounter(join(mount, 'files'), join(mount, 'membership'))?.();
  };
  t.equal(counted('0::/\n', v2), 4096);
  t.equal(counted('0::/kubepods/pod1/c\n', v2), 4096, 'the path is that of outside');
  t.equal(counted('0::/kubepods/pod1\n', { 'kubepods/pod1/memory.stat': 'sock 12\n', ...v2 }), 12);
  const above = { 'user.slice/memory.stat': 'sock 34\n', ...v2 };
  t.equal(counted('0::/user.slice/session/app\n', above), 34, 'the nearest that is counted, not the machine');
  t.equal(counted('9:name=systemd:/\n4:cpu,memory:/docker/1\n', {}), undefined, 'v1');
  t.equal(counted('0::/\n', { 'memory.stat': 'anon 1\n' }), undefined);
  t.equal(counted('', {}), undefined);
});
