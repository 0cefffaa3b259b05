import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { HOUR } from '../../../src/base/clock.ts';
import { createLogger } from '../../../src/base/log.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { restoreBackup } from '../../../src/manager/backup.ts';
import type { Manager } from '../../../src/manager/manager.ts';
import { readIdentity } from '../../../src/pki/material.ts';
import { until } from '../until.ts';
import { PASSPHRASE, perform, type Task } from './killed-child.ts';
import { openManager, shiftedClock } from './rig.ts';

const OPERATIONS: ReadonlyArray<Task['operation']> = [
  'rotate',
  'step',
  'step',
  'revoke',
  'backup',
  'step',
  'compromise',
];
const CHILD = join(import.meta.dirname, 'killed-child.ts');
const SERVICES = ['web', 'db'];
/** About as long as each takes, ms: a kill comes at any moment of it, or a little later. */
const WITHIN_MS: Readonly<Record<Task['operation'], number>> = {
  rotate: 40,
  revoke: 40,
  backup: 150,
  step: 300,
  compromise: 400,
};

export interface Killed {
  readonly operation: Task['operation'];
  /** `late`: the work was over before the kill. */
  readonly outcome: 'done' | 'undone' | 'late';
}

/**
 * Kills a manager with SIGKILL at random points of its work, `rounds` times on one storage, and asserts after each that
 * the state is valid, that the work was done or was not, and that it can be done.
 */
export async function killManagers(directory: string, rounds: number, told: (round: number, killed: Killed) => void) {
  const storage = join(directory, 'store');
  const first = await openManager(storage, shiftedClock());
  for (const serviceName of SERVICES) await first.initializeServiceCertificate({ serviceName, serviceType: 'cache' });
  await first[Symbol.asyncDispose]();
  const revoked = new Set<string>();
  let crlNumber = 0;

  for (let round = 0; round < rounds; round++) {
    const operation = OPERATIONS[Math.floor(Math.random() * OPERATIONS.length)] ?? 'step';
    const clock = shiftedClock();
    // Each round an hour later: files that were written the round before have been read by then.
    const ahead = round * HOUR;
    clock.shift(ahead);
    const before = await opened(storage, clock);
    const serial = operation === 'revoke' ? await spare(before) : undefined;
    const was = await look(before, serial);
    await before[Symbol.asyncDispose]();
    const output = join(directory, `round-${round}.backup`);
    const task: Task = { storage, operation, ahead, output, ...(serial === undefined ? {} : { serial }) };
    const ended = await killed(task);

    const after = await opened(storage, clock);
    const is = await look(after, serial);
    const done = operation === 'backup' ? existsSync(output) : isDone(operation, was, is);
    if (ended) assert.ok(done, `${operation} was answered, so it is done`);
    assert.ok(after.revocations.crl().number > crlNumber, 'the number of the revocation list rises');
    crlNumber = after.revocations.crl().number;
    if (!done) await perform(after, clock, task);
    if (operation === 'compromise') await until(() => after.trust.phase() === 'steady');
    if (serial !== undefined) revoked.add(serial);
    for (const one of revoked) assert.ok(after.revocations.get(one), `${one} stays revoked`);
    await after.rotationManager.checkAndRotateCertificates();
    await checkFiles(after, clock.now(), true);
    await after[Symbol.asyncDispose]();
    if (operation === 'backup') await restored(output, join(directory, 'restored'), clock);
    told(round, { operation, outcome: ended ? 'late' : done ? 'done' : 'undone' });
  }
}

/** Opens the storage and asserts what must hold at every start, before anything is mended. */
async function opened(storage: string, clock: ReturnType<typeof shiftedClock>): Promise<Manager> {
  const manager = await openManager(storage, clock);
  const state = join(storage, '.sidelock');
  const audit = await verifyAudit(join(state, 'audit.log'));
  assert.ok(audit.ok, 'the audit log is whole');
  const entries = await readdir(state);
  assert.deepEqual(
    entries.filter((name) => name.includes('.new-')),
    [],
    'nothing half made is left',
  );
  assert.deepEqual(
    entries.filter((name) => name.startsWith('audit.log.damaged')),
    [],
    'no audit log was set aside',
  );
  await checkFiles(manager, clock.now(), false);
  return manager;
}

/** Every file set fits together and its certificate is one that the bundle in force vouches for. */
async function checkFiles(manager: Manager, now: number, current: boolean): Promise<void> {
  const bundle = manager.trustBundle();
  for (const service of SERVICES) {
    const files = await manager.store.load(service);
    assert.ok(files, `${service} has its files`);
    const { certificate: cert, privateKey: key, caCertificate: ca } = files;
    readIdentity({ cert, key, ca }, { now });
    if (current) assert.equal(ca.toString(), bundle.pem, `ca.pem of ${service} is the bundle in force`);
    // A root that ended while its step was cut short is followed by the next check: the two of one service agree till then.
    else if (ca.toString() === bundle.pem) readIdentity({ cert, key, ca: bundle.pem }, { now });
  }
}

interface Seen {
  readonly serial: string | undefined;
  readonly generation: number;
  readonly isRevoked: boolean;
}

async function look(manager: Manager, serial: string | undefined): Promise<Seen> {
  return {
    serial: (await manager.store.load('web'))?.leaf.serial,
    generation: manager.trust.generation(),
    isRevoked: serial !== undefined && manager.revocations.get(serial) !== undefined,
  };
}

function isDone(operation: Task['operation'], was: Seen, is: Seen): boolean {
  if (operation === 'rotate') return is.serial !== was.serial;
  if (operation === 'revoke') return is.isRevoked;
  return is.generation !== was.generation;
}

async function spare(manager: Manager): Promise<string> {
  await manager.ca.generateServiceCertificate({ serviceName: 'spare', serviceType: 'cache' });
  return manager.listAllCertificates().get('spare')?.serial ?? '';
}

/** True when the work was over before the kill came. */
async function killed(task: Task): Promise<boolean> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const lines: string[] = [];
  const begun = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    begun.resolve();
  });
  await Promise.race([begun.promise, closed]);
  assert.ok(lines.includes('begun'), 'the child opened the storage');
  await delay(Math.random() * WITHIN_MS[task.operation]);
  child.kill('SIGKILL');
  await closed;
  return lines.includes('ended');
}

async function restored(archive: string, storagePath: string, clock: ReturnType<typeof shiftedClock>): Promise<void> {
  await restoreBackup({ archive, storagePath, passphrase: PASSPHRASE, clock, log: createLogger({ level: 'silent' }) });
  const manager = await opened(storagePath, clock);
  await manager[Symbol.asyncDispose]();
  await rm(storagePath, { recursive: true });
  await rm(archive);
}
