import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { writeFailure } from './failure.ts';
import { removeTemporaries, writeFileDurable } from './files.ts';
import { DIRECTORY_MODE, KEY_MODE } from './layout.ts';
import { isRunning, type ProcessIdentity, thisProcess } from './process.ts';

interface Claim extends ProcessIdentity {
  /** ms */
  readonly since: number;
  /** Whether a socket stands beside the claim. */
  readonly socket: boolean;
}

const CLAIM = /^lock\.[0-9a-f]{16}$/;

/** Two that start at the same moment see each other: the earlier one waits this often, 20 ms each, for the other to give up. */
const PATIENCE = 25;

/**
 * Makes this process the only holder of `directory` until disposal or its death, however it dies.
 *
 * Each contender writes a claim file of its own and holds the lock when it then sees no other live claim. Of any two,
 * the later one to write sees the other, so never both hold it; and a dead claim can be removed by anyone, because its
 * name is never used again. Liveness, not age, decides: pid and start time, or where pids of another container mean
 * nothing here, a unix socket beside the claim that the kernel closes with its process.
 *
 * SL-STORE-002 names the holder. Afterwards, what writers that were killed left in `directory` is removed.
 */
export async function lockDirectory(directory: string, { clock }: { readonly clock: Clock }): Promise<AsyncDisposable> {
  const self = await thisProcess();
  const name = `lock.${randomBytes(8).toString('hex')}`;
  await using undo = new AsyncDisposableStack();
  try {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    undo.defer(() => rm(join(directory, name), { force: true }));
    const socket = undo.use(await answerOn(join(directory, `${name}.sock`)));
    const claim: Claim = { ...self, since: clock.now(), socket: socket !== undefined };
    await writeFileDurable(join(directory, name), JSON.stringify(claim), KEY_MODE);
    await becomeOnly(directory, name, claim, self);
    await removeTemporaries(directory);
  } catch (error) {
    throw await writeFailure(directory, error);
  }
  return undo.move();
}

async function becomeOnly(directory: string, name: string, claim: Claim, self: ProcessIdentity): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const other = await findOther(directory, name, self);
    if (other === undefined) return;
    const mayGiveUp = other.claim.since > claim.since || (other.claim.since === claim.since && other.name > name);
    if (!mayGiveUp || attempt === PATIENCE) throw held(directory, other);
    await delay(20);
  }
}

/** A live claim other than `name`. Dead ones are removed on the way. */
async function findOther(
  directory: string,
  name: string,
  self: ProcessIdentity,
): Promise<{ name: string; claim: Claim } | undefined> {
  for (const found of await readdir(directory)) {
    if (found === name || !CLAIM.test(found)) continue;
    const claim = await readClaim(join(directory, found));
    if (claim === undefined) continue;
    if ((await isRunning(claim, self)) ?? (await mayBeRunning(directory, found, claim, self)))
      return { name: found, claim };
    await rm(join(directory, found), { force: true });
    await rm(join(directory, `${found}.sock`), { force: true });
  }
  return undefined;
}

/** Only a socket of this kernel that nobody listens on any more proves that a process which cannot be seen has ended. */
async function mayBeRunning(directory: string, name: string, claim: Claim, self: ProcessIdentity): Promise<boolean> {
  if (claim.boot !== self.boot || !claim.socket) return true;
  return (await connectError(join(directory, `${name}.sock`))) !== 'ECONNREFUSED';
}

async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    const claim: Claim = JSON.parse(await readFile(path, 'utf8'));
    return claim;
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw new SidelockError('SL-STORE-003', `${path} cannot be read as a lock`, {
      why: 'Claims are written whole, so something else wrote or damaged it.',
      fix: `When no other manager runs on this storage: rm ${path}`,
      cause: error,
      data: { path },
    });
  }
}

function held(directory: string, { name, claim }: { name: string; claim: Claim }): SidelockError {
  const since = new Date(claim.since).toISOString();
  return new SidelockError(
    'SL-STORE-002',
    `another manager (pid ${claim.pid}, host ${claim.host}, since ${since}) holds ${directory}`,
    {
      why: `${join(directory, name)} is its lock, and that process is alive or cannot be seen from here.`,
      fix: `Use that one (the command line already does), or give this one its own --storage. When its host is gone for good: rm ${join(directory, name)}`,
      data: { path: join(directory, name), pid: claim.pid, host: claim.host, since: claim.since },
    },
  );
}

/** A socket that does nothing but exist as long as this process; undefined where the path is too long for one (107 bytes). */
function answerOn(path: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen({ path }, () => resolve(server));
  });
}

function connectError(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve(nodeCode(error) ?? 'unknown'));
  });
}
