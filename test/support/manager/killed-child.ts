import { createLogger } from '../../../src/base/log.ts';
import { createBackup } from '../../../src/manager/backup.ts';
import type { Manager } from '../../../src/manager/manager.ts';
import { openManager, type ShiftedClock, shiftedClock } from './rig.ts';

/** What a child is told to do to a storage while it may be killed. */
export interface Task {
  readonly storage: string;
  readonly operation: 'rotate' | 'step' | 'compromise' | 'revoke' | 'backup';
  /** The clock of this round is so far ahead, ms. */
  readonly ahead: number;
  /** Of `revoke`. */
  readonly serial?: string;
  /** Of `backup`: the file. */
  readonly output: string;
}

export const PASSPHRASE = 'correct horse battery staple';

const NEXT = { steady: 'stage', staged: 'activate', active: 'retire', compromised: 'retire' } as const;

/** Does it, as far as it was not done. */
export async function perform(manager: Manager, clock: ShiftedClock, task: Task): Promise<void> {
  switch (task.operation) {
    case 'rotate':
      await manager.rotationManager.rotateNow('web');
      return;
    case 'step':
      await manager.trust.take(NEXT[manager.trust.phase()]);
      return;
    case 'compromise':
      await manager.trust.take('compromise', { withinMs: 0 });
      return;
    case 'revoke':
      await manager.revocations.revoke({ serial: task.serial, reason: 'superseded' });
      return;
    case 'backup': {
      const { storage: storagePath, output } = task;
      const log = createLogger({ level: 'silent' });
      await createBackup({ storagePath, output, passphrase: PASSPHRASE, verify: false, clock, log });
    }
  }
}

if (import.meta.main) {
  const task: Task = JSON.parse(process.argv[2] ?? '{}');
  const clock = shiftedClock();
  clock.shift(task.ahead);
  const manager = await openManager(task.storage, clock);
  process.stdout.write('begun\n');
  await perform(manager, clock, task);
  process.stdout.write('ended\n');
  await manager[Symbol.asyncDispose]();
}
