import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { startMixed } from './mixed-rig.ts';

/** Both identities change every second under mixed load: nothing fails, and what is open stays open. */
export async function rotateUnderMixedLoad(t: Test, streams: boolean, rotations: number): Promise<void> {
  const { rotate, load } = await startMixed(t, streams);
  for (let i = 0; i < rotations; i++) {
    await rotate();
    await delay(1_000);
  }
  const { failures, ...done } = await load.stop();
  t.same(failures, []);
  t.ok(
    Object.values(done).every((n) => n > rotations),
    'every kind of load went on',
  );
  t.comment(`${streams ? 'in streams' : 'without streams'}: ${rotations} rotations, ${JSON.stringify(done)}`);
}
